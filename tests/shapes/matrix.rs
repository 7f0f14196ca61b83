//! The shapes, one line each: how it is made, in bash, and where people stand in it.

use super::{Place, live, make};
use crate::support::Sandbox;

macro_rules! shapes {
    ($($name:ident: $script:expr, $places:expr;)*) => {
        $(#[test]
        fn $name() {
            let sandbox = Sandbox::new_in_memory();
            if !make(&sandbox, $script) {
                return eprintln!("SKIPPED {}: this git cannot make it", stringify!($name));
            }
            let places: Vec<_> = $places.iter().map(|place| Place::parse(&sandbox, place)).collect();
            live(&sandbox, &places, stringify!($name));
        })*
    };
}

shapes! {
    plain: "", ["."];
    subdirectory: "mkdir -p a/b", [".", "a/b"];
    below_git: "", [".", ".git", ".git/refs"];
    unborn: "rm -rf .git; git init -q", ["."];
    detached: "git checkout -q --detach", ["."];
    no_index: "rm .git/index", ["."];
    staged_and_changed: "echo a >a; git add a; echo b >a; echo c >c; echo c >.gitignore", ["."];
    rebase_under_way: "git commit -q --allow-empty -m a; git rebase -q -x false HEAD~ || test -d .git/rebase-merge", ["."];
    index_locked: "touch .git/index.lock; trap 'rm .git/index.lock' EXIT", ["."];
    linked_worktrees: "git worktree add -q -b a ../a; git worktree add -q --detach ../b", [".", "../a", "../b"];
    linked_and_locked: "git worktree add -q --lock -b a ../a", [".", "../a"];
    linked_unborn: "git worktree add -q --orphan -b a ../a || exit 77; git hash-object -t tree -w /dev/null", ["../a", "."];
    linked_moved: "git worktree add -q -b a ../a; mv ../a ../b; git worktree repair ../b", [".", "../b"];
    linked_from_subdirectory: "git worktree add -q -b a ../a; mkdir ../a/x", ["../a/x", "."];
    bare: "git clone -q --bare . ../bare.git", ["../bare.git"];
    bare_unborn: "git init -q --bare ../bare.git", ["../bare.git"];
    worktree_of_bare: "git clone -q --bare . ../b.git; git -C ../b.git worktree add -q -b a ../a", ["../a", "../b.git"];
    worktree_beside_bare: "git clone -q --bare . ../p/.bare; echo gitdir: ./.bare >../p/.git; git -C ../p worktree add -q -b a a", ["../p/a", "../p"];
    submodule: "git clone -q . ../u; git -c protocol.file.allow=always submodule -q add ../u sub; git commit -qm sub", ["sub"];
    submodule_own_git: "git clone -q . sub; git -c advice.addEmbeddedRepo=false add sub; git commit -qm sub", ["sub"];
    superproject: "git clone -q . ../u; git -c protocol.file.allow=always submodule -q add ../u sub; git commit -qm sub", ["."];
    submodule_of_linked: "git clone -q . ../u; git -c protocol.file.allow=always submodule -q add ../u sub; git commit -qm sub; git worktree add -q ../a -b a; git -C ../a -c protocol.file.allow=always submodule -q update --init", ["../a/sub"];
    separate_git_dir: "git init -q --separate-git-dir ../store", ["."];
    git_is_a_link: "mv .git ../store; ln -s ../store .git", ["."];
    repository_through_a_link: "ln -s repo ../link", ["../link", "."];
    objects_are_a_link: "mv .git/objects ../objects; ln -s ../../objects .git/objects", ["."];
    core_worktree: "git init -q --bare ../x.git; git -C ../x.git config core.bare false; git -C ../x.git config core.worktree @/repo", ["../x.git"];
    shallow: "git commit -q --allow-empty -m b; git clone -q --depth 1 file://@/repo ../c", ["../c"];
    shallow_with_worktree: "git commit -q --allow-empty -m b; git clone -q --depth 1 file://@/repo ../c; git -C ../c worktree add -q ../d -b d", ["../c", "../d"];
    partial_blobs: "git config uploadpack.allowFilter true; git clone -q --filter=blob:none file://@/repo ../c", ["../c"];
    partial_trees: "git config uploadpack.allowFilter true; git clone -q --no-checkout --filter=tree:0 file://@/repo ../c", ["../c"];
    partial_and_sparse: "git config uploadpack.allowFilter true; git clone -q --sparse --filter=blob:none file://@/repo ../c", ["../c"];
    borrowing_objects: "git clone -q --shared . ../c", ["../c"];
    single_branch: "git branch x; git clone -q --single-branch -b x . ../c", ["../c"];
    sparse_index: "mkdir a b; touch a/x b/x; git add .; git commit -qm ab; git sparse-checkout set --cone --sparse-index a", ["."];
    sparse_no_cone: "mkdir a b; touch a/x b/x; git add .; git commit -qm ab; git sparse-checkout set --no-cone '/a/'", ["."];
    sparse_worktree: "git worktree add -q -b a ../a; mkdir ../a/x; touch ../a/x/y; git -C ../a add .; git -C ../a commit -qm x; git -C ../a sparse-checkout set --cone x", ["../a", "."];
    split_index: "git config core.splitIndex true; touch a; git add a; git update-index --split-index", ["."];
    untracked_cache: "git config core.untrackedCache true; git update-index --untracked-cache; touch a; git status -s >../s", ["."];
    fsmonitor: "printf '#!/bin/sh\\nprintf \"token\\\\0/\\\\0\"\\n' >../watch; chmod +x ../watch; git config core.fsmonitor @/watch; git config core.fsmonitorHookVersion 2; git status -s", ["."];
    index_version_4: "git update-index --index-version 4", ["."];
    many_files: "git config feature.manyFiles true; git update-index --index-version 4; git status -s", ["."];
    autocrlf: "git config core.autocrlf true; git config core.eol crlf; printf 'a\\r\\n' >crlf; git add crlf; git commit -qm crlf", ["."];
    filters: "git config filter.x.clean 'tr a-z A-Z'; git config filter.x.required true; echo '* filter=x' >.gitattributes", ["."];
    ignored_everything: "echo '*' >.gitignore; git config core.excludesFile @/home/none", ["."];
    worktree_config: "git config extensions.worktreeConfig true; git config --worktree core.abbrev 12; git worktree add -q -b a ../a; git -C ../a config --worktree user.name B", [".", "../a"];
    precious_objects: "git config core.repositoryFormatVersion 1; git config extensions.preciousObjects true", ["."];
    extension_noop: "git config core.repositoryFormatVersion 1; git config extensions.noop true", ["."];
    extension_noop_v1: "git config core.repositoryFormatVersion 1; git config extensions.noop-v1 true; git status -s", ["."];
    refs_are_files: "git config core.repositoryFormatVersion 1; git config extensions.refStorage files; git status -s || exit 77", ["."];
    sha1: "rm -rf .git; git init -q --object-format=sha1; git add README; git commit -qm first", ["."];
    sha256: "rm -rf .git; git init -q --object-format=sha256; git add README; git commit -qm first", ["."];
    sha256_worktrees: "rm -rf .git; git init -q --object-format=sha256; git commit -q --allow-empty -m a; git worktree add -q -b a ../a", [".", "../a"];
    sha256_bare: "git init -q --bare --object-format=sha256 ../bare.git", ["../bare.git"];
    sha256_partial: "rm -rf .git; git init -q --object-format=sha256; git add README; git commit -qm a; git config uploadpack.allowFilter true; git clone -q --filter=blob:none file://@/repo ../c", ["../c"];
    packed_refs: "git pack-refs --all", ["."];
    bitmap_and_midx: "git repack -qadb; git multi-pack-index write; git commit-graph write --reachable; touch a; git add a; git commit -qm a; git repack -qd; git multi-pack-index write", ["."];
    no_reflogs: "git config core.logAllRefUpdates false", ["."];
    all_reflogs: "git config core.logAllRefUpdates always", ["."];
    no_compression: "git config core.compression 0; git config core.looseCompression 0; git config pack.compression 0", ["."];
    big_files: "git config core.bigFileThreshold 1; git config gc.auto 1", ["."];
    shared_with_group: "git config core.sharedRepository group; umask 077", ["."];
    replaced_commit: "git commit -q --allow-empty -m b; git replace HEAD HEAD~", ["."];
    hooks_elsewhere: "mkdir ../hooks; printf '#!/bin/sh\\nexit 1\\n' >../hooks/pre-commit; chmod +x ../hooks/*; git config core.hooksPath @/hooks", ["."];
    aliased: "git config alias.record '!false'; git config alias.elf '!false'", ["."];
    included_configuration: "git config -f ../more elf.agent included; git config include.path @/more", ["."];
    remote_is_a_partial_push: "git init -q --bare ../r.git; git remote add origin ../r.git; git push -q origin main", ["."];
    git_dir: "", [". GIT_DIR=@/repo/.git"];
    git_dir_relative: "", [". GIT_DIR=.git"];
    git_dir_and_work_tree: "mkdir ../x", ["../x GIT_DIR=@/repo/.git GIT_WORK_TREE=@/repo", "."];
    git_dir_of_linked: "git worktree add -q -b a ../a; mkdir ../x", ["../x GIT_DIR=@/repo/.git/worktrees/a GIT_WORK_TREE=@/a", "."];
    git_work_tree_alone: "mkdir ../x", [". GIT_WORK_TREE=@/x"];
    git_index_file: "cp .git/index ../i", [". GIT_INDEX_FILE=@/i", "."];
    git_index_file_relative: "cp .git/index .git/next", [". GIT_INDEX_FILE=.git/next"];
    git_index_file_is_broken: "echo no >../i", [".", ". GIT_INDEX_FILE=@/i"];
    git_object_directory: "", [". GIT_OBJECT_DIRECTORY=@/repo/.git/objects", "."];
    git_object_directory_elsewhere: "mkdir ../o", [".", ". GIT_OBJECT_DIRECTORY=@/o"];
    git_object_directory_in_linked: "git worktree add -q -b a ../a; mkdir ../o", [".", "../a GIT_OBJECT_DIRECTORY=@/o"];
    git_alternates: "git clone -q --bare . ../o.git", [". GIT_ALTERNATE_OBJECT_DIRECTORIES=@/o.git/objects", "."];
    git_common_dir: "", [". GIT_DIR=@/repo/.git GIT_COMMON_DIR=@/repo/.git", "."];
    git_namespace: "", [". GIT_NAMESPACE=x", "."];
    git_prefix: "mkdir a", ["a GIT_PREFIX=a/", "."];
    git_ceiling: "mkdir -p a", ["a GIT_CEILING_DIRECTORIES=@", "."];
    git_literal_pathspecs: "", [".", ". GIT_LITERAL_PATHSPECS=1 GIT_OPTIONAL_LOCKS=0 GIT_FLUSH=1"];
    git_config_parameters: "", [". GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=elf.agent GIT_CONFIG_VALUE_0=x", "."];
    git_reflog_action: "", [". GIT_REFLOG_ACTION=mine", "."];
    git_default_hash: "", [". GIT_DEFAULT_HASH=sha256", "."];
    no_home: "git config user.name A; git config user.email a@example.org", [". HOME=/nonexistent", "."];
    other_language: "", [". LC_ALL=de_DE.UTF-8 LANGUAGE=de", "."];
}
