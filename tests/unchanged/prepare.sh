# Makes the repository in which every operation runs: `repo` with a remote, a linked worktree, patches and a submodule's source.
set -e
git init -q -b main repo
cd repo
mkdir dir
seq 1 20 >numbers
for file in a b dir/c; do echo base >$file; done
git add .
git commit -q -m base
git tag v0
git switch -q -c topic
echo new >new
git add new
git commit -q -m 'topic: a new file'
echo topic >dir/c
git commit -q -a -m 'topic: edit dir/c'
echo topic >a
git commit -q -a -m 'topic: edit a, as main does'
git switch -q -c side v0
echo side >side
git add side
git commit -q -m 'side: a new file'
sed -i 's/^3$/three/' numbers
git commit -q -a -m 'side: edit numbers at the top'
git switch -q main
echo main >a
git commit -q -a -m 'main: edit a'
sed -i 's/^18$/eighteen/' numbers
git commit -q -a -m 'main: edit numbers at the end'
echo e >e
git add e
git commit -q -m 'main: a new file'
git tag -a -m 'version 1' v1
git format-patch -q -o ../good v0..topic~1
git format-patch -q -o ../bad topic~1..topic
git clone -q --bare . ../origin.git
git clone -q ../origin.git ../colleague
cd ../colleague
echo upstream >upstream
git add upstream
git commit -q -m 'upstream: a new file'
git push -q origin main main:upstream
cd ../repo
git remote add origin ../origin.git
git fetch -q origin v1:refs/remotes/origin/main side:refs/remotes/origin/side topic:refs/remotes/origin/topic
git branch -q --set-upstream-to origin/main main
git init -q -b main ../library
cd ../library
echo library >library
git add library
git commit -q -m 'library: first'
cd ../repo
for each in ../origin.git ../colleague ../library; do git -C $each gc -q; done
git worktree add -q -b linked ../linked v0
mkdir .git/hooks
printf '#!/bin/sh\necho "post-commit $(git log -1 --format=%%s)" >>../ran\n' >.git/hooks/post-commit
printf '#!/bin/sh\necho "pre-push $*" >>../ran\ncat >>../ran\n' >.git/hooks/pre-push
chmod +x .git/hooks/*
