# Prints everything about a repository that a user, or the next git command, could notice.
part() { echo "## $1"; }
part status; git status --porcelain=v2 --branch -uall
part index; git ls-files -s
part tree; git ls-tree -r HEAD 2>&1
part branch; git symbolic-ref -q HEAD
part refs; git for-each-ref --format='%(refname) %(objectname) %(subject)'
part reflog; git log -g --format='%gs' HEAD 2>/dev/null
part stashes; git stash list
part 'names in .git'; ls -A .git
part 'locks in .git'; find .git -path .git/elf -prune -o -name '*.lock' -print
part 'steps under way'
for file in MERGE_HEAD MERGE_MSG CHERRY_PICK_HEAD REVERT_HEAD BISECT_LOG BISECT_START sequencer/todo rebase-merge/done \
    rebase-merge/git-rebase-todo rebase-merge/head-name rebase-merge/onto rebase-apply/next; do
    if test -f ".git/$file"; then echo "$file:"; cat ".git/$file"; fi
done
part files; find . -path './.git' -prune -o -name .git -prune -o -type f -print | sort | xargs -d '\n' -r sha1sum
part 'linked worktree'; git -C ../linked status --porcelain=v2 --branch -uall
part remote; git -C ../origin.git for-each-ref --format='%(refname) %(objectname)'
part fsck; git fsck --strict --no-dangling 2>&1
part 'own hooks that ran'; cat ../ran 2>/dev/null
:
