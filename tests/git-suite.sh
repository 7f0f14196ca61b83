#!/bin/sh
# Runs scripts of git's own test suite without and with our hooks in every repository, and prints each test that ends differently.
#
#   tests/git-suite.sh GIT_SOURCE [SCRIPT...]
#
# GIT_SOURCE is a source tree of git in which `make` was run; our hooks are put into its templates and taken out again. GIT_ELF
# names another program than target/release/git-elf. Exit status 1 when a test ends differently.

set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
program=${GIT_ELF:-$here/target/release/git-elf}
source=$(cd "$1" && pwd)
shift
test $# -gt 0 || set -- t0600 t2400 t2403 t3400 t3404 t3420 t3430 t3501 t3510 t3903 t4150 t5403 t5500 t5510 t5516 t5571 t6030 t6500 \
    t7400 t7501 t7502 t7503 t7505 t7600 t7900

templates=$source/templates/blt/hooks
library=$source/t/test-lib-functions.sh
work=$(mktemp -d)
cp "$library" "$work/library"
trap 'cp "$work/library" "$library"; rm -rf "$work" "$templates/post-commit" "$templates/pre-push"' EXIT
trap 'exit 130' INT TERM
git init -q "$work/rendered"
(cd "$work/rendered" && "$program" init >/dev/null)

with_our_hooks() {
    cp "$work/rendered/.git/hooks/post-commit" "$work/rendered/.git/hooks/pre-push" "$templates"
    # The tests refuse to write a hook that is there. They may, and then our block is put into it, as a user would have it.
    sed -e 's/^\t\ttest_path_is_missing "$hook_file"$/\t\t:/' \
        -e "s,^\\twrite_script \"\$hook_file\"\$,& \&\& (cd \"\$hook_dir/..\" \&\& $program init >/dev/null 2>\&1 || :)," \
        "$work/library" >"$library"
}

run() {
    for script in "$@"; do
        start=$(date +%s)
        (cd "$source/t" && sh ./"$script"-*.sh --root="$work/root") 2>&1 | grep -E '^(ok|not ok|1\.\.)' >"$results/$script" || :
        echo "$script: $(grep -c '^ok' "$results/$script") ok, $(grep -c '^not ok' "$results/$script") not, $(($(date +%s) - start)) s"
    done
}

for results in "$work/without" "$work/with"; do
    mkdir "$results"
    test "$results" = "$work/without" || with_our_hooks
    echo "== ${results##*/} our hooks"
    run "$@"
done
echo "== what differs"
diff -r "$work/without" "$work/with" && echo nothing
