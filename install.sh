#!/bin/sh
# Builds git-elf and installs it with man pages and completions; `./install.sh --help` says where and how to undo it.
#
# Every file is written under a temporary name and renamed, so an interrupted run leaves the old version or the new one.
# What was installed is listed in PREFIX/share/git-elf/installed, relative to PREFIX; --uninstall removes that and no more.

set -eu

usage() {
    cat <<'END'
usage: ./install.sh               build and install, or upgrade in place
       ./install.sh --mcp         the same, with the MCP server git-elf-mcp; later upgrades keep it
       ./install.sh --uninstall   remove what an earlier run installed
       ./install.sh --help

Needs git, cargo (Rust) and a C compiler. The first build fetches crates from crates.io.

Environment:
  PREFIX            where to install; default: ~/.local
  CARGO_TARGET_DIR  where to build; default: target/ beside this script

Installs, below PREFIX:
  bin/git-elf                       and bin/git-elf-mcp with --mcp
  share/man/man1/git-elf*.1
  share/bash-completion/completions/git-elf
  share/zsh/site-functions/_git-elf
  share/fish/vendor_completions.d/git-elf.fish
  share/git-elf/installed           the list of these files, for --uninstall
END
}

say() { printf 'install.sh: %s\n' "$*"; }

die() {
    printf 'install.sh: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

absolute() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s/%s\n' "$PWD" "$1" ;;
    esac
}

check_tools() {
    have git || die "git is not installed" \
        "Debian, Ubuntu: apt-get install git" "Fedora: dnf install git" "elsewhere: https://git-scm.com/downloads"

    if ! have cargo; then
        if [ -f "${HOME:-}/.cargo/env" ]; then
            die "cargo is not on PATH, but Rust seems to be installed" "run: . \"\$HOME/.cargo/env\"" "then run install.sh again"
        fi
        die "cargo is not installed; it builds git-elf" "see https://rustup.rs for Rust $rust_needed or later"
    fi
    # rustup finds its toolchains through HOME. Run with another HOME, they are beside its own bin directory.
    if [ -z "${RUSTUP_HOME:-}" ] && [ ! -d "${HOME:-}/.rustup" ]; then
        beside=$(dirname "$(dirname "$(dirname "$(command -v cargo)")")")/.rustup
        if [ -d "$beside" ]; then
            RUSTUP_HOME=$beside
            export RUSTUP_HOME
        fi
    fi
    rust_found=$(cargo --version 2>"$work/log" | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
    if [ -z "$rust_found" ]; then
        cat "$work/log" >&2
        die "cargo is on PATH but does not run" "with rustup: rustup default stable"
    fi
    if [ "${rust_found%%.*}" -lt "${rust_needed%%.*}" ] || { [ "${rust_found%%.*}" -eq "${rust_needed%%.*}" ] &&
        [ "${rust_found#*.}" -lt "${rust_needed#*.}" ]; }; then
        die "cargo $rust_found is too old; git-elf needs Rust $rust_needed or later" \
            "with rustup: rustup update stable" "else see https://rustup.rs"
    fi

    compiler=
    for candidate in ${CC:+"$CC"} cc gcc clang; do
        if have "${candidate%% *}"; then
            compiler=$candidate
            break
        fi
    done
    [ -n "$compiler" ] || die "no C compiler: none of cc, gcc, clang is installed; libgit2 and SQLite are built from C" \
        "Debian, Ubuntu: apt-get install build-essential" "Fedora: dnf install gcc" "macOS: xcode-select --install"
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$work/try.c"
    # CC may hold options, so it is split on purpose.
    # shellcheck disable=SC2086
    if ! $compiler -o "$work/try" "$work/try.c" >"$work/log" 2>&1; then
        cat "$work/log" >&2
        die "the C compiler $compiler cannot build a program; the C library's headers may be missing" \
            "Debian, Ubuntu: apt-get install build-essential" "Fedora: dnf install gcc glibc-devel"
    fi
    # rustc links with `cc` by that name.
    if ! have cc; then
        mkdir "$work/bin"
        ln -s "$(command -v "${compiler%% *}")" "$work/bin/cc"
        PATH=$work/bin:$PATH
    fi
}

build() {
    # What an earlier run installed is kept.
    if grep -qxF bin/git-elf-mcp "$prefix/share/git-elf/installed" 2>/dev/null; then mcp=mcp; fi
    say "building${mcp:+ with the MCP server}; this takes one to three minutes"
    # The JSON says where the programs are, whatever target directory is configured.
    if ! cargo build --locked --release ${mcp:+--features mcp} --message-format=json-render-diagnostics >"$work/json" 2>"$work/log"; then
        cat "$work/log" >&2
        die "the build failed" "the first build needs the network: crates come from crates.io"
    fi
    program=$(sed -n 's/.*"executable":"\([^"]*\/git-elf\)".*/\1/p' "$work/json" | tail -n 1)
    [ -x "$program" ] || die "cargo did not say where it built git-elf"
    server=$(sed -n 's/.*"executable":"\([^"]*\/git-elf-mcp\)".*/\1/p' "$work/json" | tail -n 1)
    [ -z "$mcp" ] || [ -x "$server" ] || die "cargo did not say where it built git-elf-mcp"
}

# Creates the directory $1 below the prefix, and notes each one that was not there.
make_dir() {
    if [ -d "$prefix/$1" ]; then return; fi
    case $1 in
    */*) make_dir "${1%/*}" ;;
    *) mkdir -p "$prefix" || die "cannot create $prefix" "choose another place: PREFIX=DIR ./install.sh" ;;
    esac
    # The recursion has changed nothing but directories; $1 is this call's own.
    mkdir "$prefix/$1" || die "cannot create $prefix/$1" "choose another place: PREFIX=DIR ./install.sh"
    printf '%s/\n' "$1" >>"$work/list"
}

# Installs the file $1 as $2 below the prefix, with mode $3.
put() {
    make_dir "${2%/*}"
    [ ! -d "$prefix/$2" ] || die "$prefix/$2 is a directory"
    temporary=$prefix/${2%/*}/.git-elf-install.$$
    if ! { cp "$1" "$temporary" && chmod "$3" "$temporary" && mv -f "$temporary" "$prefix/$2"; }; then
        rm -f "$temporary"
        die "cannot write $prefix/$2" "choose another place: PREFIX=DIR ./install.sh"
    fi
    printf '%s\n' "$2" >>"$work/list"
}

install_files() {
    "$program" manual "$work/man" || die "the new program cannot write its man pages"
    for shell in bash zsh fish; do
        "$program" completions "$shell" >"$work/$shell" || die "the new program cannot write completions for $shell"
    done

    list=share/git-elf/installed
    : >"$work/list"
    # Directories of an earlier run are still ours to remove.
    if [ -f "$prefix/$list" ]; then grep '/$' "$prefix/$list" >>"$work/list" || :; fi
    put "$program" bin/git-elf 755
    if [ -n "$mcp" ]; then put "$server" bin/git-elf-mcp 755; fi
    for page in "$work"/man/*.1; do put "$page" "share/man/man1/${page##*/}" 644; done
    put "$work/bash" share/bash-completion/completions/git-elf 644
    put "$work/zsh" share/zsh/site-functions/_git-elf 644
    put "$work/fish" share/fish/vendor_completions.d/git-elf.fish 644

    # A file that an earlier version installed and this one does not have.
    if [ -f "$prefix/$list" ]; then
        while IFS= read -r name; do
            if ! grep -qxF -- "$name" "$work/list"; then remove "$name"; fi
        done <"$prefix/$list"
    fi
    make_dir share/git-elf
    cp "$work/list" "$work/installed"
    put "$work/installed" "$list" 644

    pages=$(grep -c '^share/man/' "$work/list")
    say "installed $prefix/bin/git-elf ($("$program" --version)), man pages and completions for bash, zsh and fish ($pages pages)"
    if [ -n "$mcp" ]; then say "installed $prefix/bin/git-elf-mcp; git elf mcp -h says how an agent gets it"; fi
}

# Removes the file $1 below the prefix; names that a hand has put into the list are not followed outside.
remove() {
    case /$1/ in
    */../* | //*) return ;;
    *) ;;
    esac
    if [ -f "$prefix/$1" ] || [ -L "$prefix/$1" ]; then
        rm -f "$prefix/$1" || die "cannot remove $prefix/$1"
        say "removed $prefix/$1"
    fi
}

uninstall() {
    list=$prefix/share/git-elf/installed
    [ -f "$list" ] || die "nothing to remove: $list does not exist" \
        "if another PREFIX was given to install.sh, give it again: PREFIX=DIR ./install.sh --uninstall"
    cp "$list" "$work/list"
    grep -v '/$' "$work/list" >"$work/files" || :
    while IFS= read -r name; do remove "$name"; done <"$work/files"
    remove share/git-elf/installed
    # Directories that were made for these files, deepest first, unless something else lives there now.
    grep '/$' "$work/list" | sort -r -u >"$work/dirs" || :
    while IFS= read -r name; do
        case /$name in
        */../* | //*) continue ;;
        *) ;;
        esac
        if rmdir "$prefix/$name" 2>/dev/null; then say "removed $prefix/$name"; fi
    done <"$work/dirs"
    say "the memory in your repositories is untouched"
    say "hooks that git elf init put into a repository do nothing without the program"
}

say_paths() {
    case :$PATH: in
    *:"$prefix/bin":*) ;;
    *)
        say "$prefix/bin is not on PATH; add this line to ~/.profile or your shell's own file:"
        # shellcheck disable=SC2016 # the line is for the user's shell
        printf '    export PATH="%s/bin:$PATH"\n' "$prefix"
        ;;
    esac
    if ! have man; then
        say "man is not installed, so git elf --help cannot show a page; git elf -h works without it"
    elif [ "$(PATH="$prefix/bin:$PATH" man -w git-elf 2>/dev/null)" != "$prefix/share/man/man1/git-elf.1" ]; then
        say "man does not look into $prefix/share/man; for git elf --help add this line too:"
        # shellcheck disable=SC2016 # the line is for the user's shell
        printf '    export MANPATH="%s/share/man:${MANPATH:-}"\n' "$prefix"
    fi
}

# Records a lesson and finds it, in a repository of its own that nothing of the user's configuration reaches.
try() {
    demo=$work/demo
    PATH=$prefix/bin:$PATH
    # shellcheck disable=SC2046 # one variable's name a word
    unset $(git rev-parse --local-env-vars) GIT_DEFAULT_HASH GIT_DEFAULT_REF_FORMAT
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
    export GIT_AUTHOR_NAME="git-elf" GIT_AUTHOR_EMAIL="git-elf@localhost"
    export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
    git init -q --template= "$demo"
    cd "$demo"
    say "a first lesson, in a repository that is thrown away:"
    printf '\n$ git elf record success "git-elf is installed" -m "The build and the first record work." --domain setup\n'
    git elf record success "git-elf is installed" -m "The build and the first record work." --domain setup 2>&1 || return 1
    printf '\n$ git elf search "first record"\n'
    git elf search "first record" >"$work/found" || return 1
    cat "$work/found"
    grep -q "git-elf is installed" "$work/found" || return 1
    printf '\n'
}

action=install
mcp=
case ${1:-} in
'') ;;
-h | --help)
    usage
    exit 0
    ;;
--uninstall) action=uninstall ;;
--mcp) mcp=mcp ;;
*)
    usage >&2
    exit 2
    ;;
esac
[ $# -le 1 ] || {
    usage >&2
    exit 2
}

if [ -z "${PREFIX:-}" ]; then
    [ -n "${HOME:-}" ] || die "neither PREFIX nor HOME is set" "run: PREFIX=DIR ./install.sh"
    PREFIX=$HOME/.local
fi
prefix=$(absolute "${PREFIX%/}")
if [ -n "${CARGO_TARGET_DIR:-}" ]; then
    CARGO_TARGET_DIR=$(absolute "$CARGO_TARGET_DIR")
    export CARGO_TARGET_DIR
fi
# It is ours alone from here on; git and make give it another meaning.
unset PREFIX

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
cd "$here"
rust_needed=$(sed -n 's/^rust-version = "\([0-9]*\.[0-9]*\).*/\1/p' Cargo.toml)

work=$(mktemp -d)
trap 'cd / && rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "$action" = uninstall ]; then
    uninstall
    exit 0
fi
check_tools
build
install_files
say_paths
(try) || die "git-elf is installed, but a first record failed; what it said is above"
say "next: git elf record in any repository; git elf -h explains, install.sh --uninstall undoes this"
