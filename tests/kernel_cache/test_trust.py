"""Folders that others can change or swap, and those that they cannot."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from numba_lstm.kernel_cache import trust
from numba_lstm.kernel_cache.trust import UntrustedError, real_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this platform has no owners and modes")

ME, ROOT, OTHER = 1234, 0, 4321
Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Sets the owner that a path, or any below it, seems to have; this process seems to be ME, who owns all others."""
    owners: dict[str, int] = {}
    really = os.lstat

    def lstat(path: Any, **options: Any) -> os.stat_result:
        status = really(path, **options)
        return os.stat_result((*status[:4], owners.get(str(path), ME), *status[5:]))

    monkeypatch.setattr(os, "lstat", lstat)
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    return lambda path, owner: owners.update({str(path): owner})


def refused(path: Path) -> str:
    """Why a folder is refused, in one line."""
    with pytest.raises(UntrustedError) as info:
        real_folder(path)
    assert "\n" not in str(info.value)
    return str(info.value)


@pytest.fixture
def above(tmp_path: Path) -> Path:
    """A folder with a folder "cache" in it."""
    folder = tmp_path / "above"
    (folder / "cache").mkdir(parents=True, mode=0o700)
    folder.chmod(0o755)
    return folder


def test_folders_of_root_and_of_mine_are_trusted(above: Path, pretend: Pretend) -> None:
    for owner in ROOT, ME:
        pretend(above, owner)
        for inner in ROOT, ME:
            pretend(above / "cache", inner)
            assert real_folder(above / "cache") == above / "cache"


def test_a_folder_of_somebody_else_is_refused_wherever_it_is(above: Path, pretend: Pretend) -> None:
    pretend(above / "cache", OTHER)
    assert refused(above / "cache") == f"{above / 'cache'} belongs to user {OTHER}, not to you ({ME}) or root"
    pretend(above / "cache", ME)
    pretend(above, OTHER)
    assert refused(above / "cache") == f"{above} belongs to user {OTHER}, not to you ({ME}) or root"
    above.chmod(0o1777)  # its owner may rename what is in it, sticky or not
    assert refused(above / "cache") == f"{above} belongs to user {OTHER}, not to you ({ME}) or root"


def test_root_refuses_what_a_user_could_change(above: Path, pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: ROOT)
    for folder in above, *above.parents, above / "cache":
        pretend(folder, ROOT)
    assert real_folder(above / "cache") == above / "cache"
    pretend(above, ME)
    assert refused(above / "cache").startswith(f"{above} belongs to user {ME}")
    with pytest.raises(UntrustedError):
        real_folder(above / "new" / "cache")
    assert not (above / "new").exists()  # nothing of root's is left in a folder of somebody else


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o770, 0o722])
def test_a_folder_that_others_can_write_to_is_refused_wherever_it_is(
    above: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_is_of_one_user", lambda group, user: False)
    for folder in above, above / "cache":
        folder.chmod(mode)
        assert refused(above / "cache") == f"others can write to {folder} (mode {mode:04o}); chmod go-w makes it usable"
        folder.chmod(0o700)
        assert real_folder(above / "cache") == above / "cache"


@pytest.mark.skipif(not hasattr(os, "listxattr"), reason="this platform has no access lists of that kind")
def test_the_group_that_a_user_has_alone(above: Path, pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where users have umask 002, what they make is writable by a group of their own."""
    import grp
    import pwd

    group = above.stat().st_gid
    user, members, others, lists = SimpleNamespace(pw_name="me", pw_gid=group, pw_uid=ME), ["me"], [], []
    monkeypatch.setattr(pwd, "getpwuid", lambda number: user)
    monkeypatch.setattr(pwd, "getpwall", lambda: [user, *others])
    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name=name, gr_mem=members))
    monkeypatch.setattr(os, "listxattr", lambda *_, **__: lists)

    def is_trusted() -> bool:
        trust._is_of_one_user.cache_clear()
        try:
            return real_folder(above / "cache") == above / "cache"
        except UntrustedError:
            return False

    name = "me"
    above.chmod(0o775)
    (above / "cache").chmod(0o775)
    assert is_trusted()
    for one in above, above / "cache":
        one.chmod(0o777)
        assert not is_trusted()
        one.chmod(0o775)
    lists.append("system.posix_acl_access")
    assert not is_trusted()
    lists.clear()
    members.append("you")
    assert not is_trusted()
    members.pop()
    name = "us"
    assert not is_trusted()
    name = "me"
    others.append(SimpleNamespace(pw_name="you", pw_gid=group, pw_uid=ME + 1))
    assert not is_trusted()
    others.clear()
    assert is_trusted()
    trust._is_of_one_user.cache_clear()


def test_sticky_folders_protect_what_is_mine_or_roots(above: Path, pretend: Pretend) -> None:
    above.chmod(0o1777)
    for owner in ROOT, ME:
        pretend(above, owner)
        assert real_folder(above / "cache") == above / "cache"
    pretend(above / "cache", OTHER)
    assert refused(above / "cache").startswith(f"{above / 'cache'} belongs to user {OTHER}")
    pretend(above / "cache", ME)
    (above / "cache").chmod(0o1777)  # the folder itself may not be, for others could add kernels
    assert refused(above / "cache") == f"others can write to {above / 'cache'} (mode 1777)"  # and are meant to


def test_links_are_followed_where_others_cannot_turn_them(above: Path, pretend: Pretend) -> None:
    goal = above / "cache"
    link, relative, up = above / "link", above / "relative", above / "up"
    link.symlink_to(goal)
    relative.symlink_to("link")
    up.symlink_to("cache/../cache/./")
    assert {real_folder(path) for path in (link, relative, up, above / "cache" / ".." / "link")} == {goal}
    pretend(link, OTHER)
    for path in link, relative, link / "below":
        assert refused(path) == f"{link} belongs to user {OTHER}, not to you ({ME}) or root"


def test_the_folder_of_a_link_counts_too(above: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o700)
    (shared / "link").symlink_to(above / "cache")
    assert real_folder(shared / "link") == above / "cache"
    shared.chmod(0o777)
    assert refused(shared / "link") == f"others can write to {shared} (mode 0777); chmod go-w makes it usable"
    shared.chmod(0o700)
    above.chmod(0o777)  # and the folders of what it points at
    assert refused(shared / "link") == f"others can write to {above} (mode 0777); chmod go-w makes it usable"


def test_a_path_that_ends_above_is_checked_as_what_it_is(above: Path) -> None:
    above.chmod(0o1777)
    assert refused(above / "cache" / "..").startswith(f"others can write to {above} (mode 1777)")


def test_what_is_missing_is_made_private(above: Path) -> None:
    before = os.umask(0)
    try:
        made = real_folder(above / "a" / "b" / "c")
        (above / "dangling").symlink_to("d/e")
        real_folder(above / "dangling")
    finally:
        os.umask(before)
    modes = {str(path.relative_to(above)): path.stat().st_mode & 0o777 for path in (made, *made.parents[:2])}
    assert modes == {"a": 0o755, "a/b": 0o755, "a/b/c": 0o700}
    assert (above / "d" / "e").stat().st_mode & 0o777 == 0o700


def test_a_relative_path_is_as_safe_as_where_it_is(above: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(above)
    assert real_folder(Path("cache")) == above / "cache"
    above.chmod(0o777)
    assert refused(Path("cache")).startswith(f"others can write to {above}")


def test_files_and_rings_of_links_in_the_way(above: Path) -> None:
    (above / "file").write_text("")
    for path in above / "file", above / "file" / "below":
        with pytest.raises(NotADirectoryError) as info:
            real_folder(path)
        assert info.value.filename == str(above / "file")
    (above / "ring").symlink_to("ring")
    with pytest.raises(OSError, match="ring") as ring:
        real_folder(above / "ring")
    assert ring.value.errno == errno.ELOOP


def test_somebody_faster_is_looked_at_before_use(
    above: Path, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    above.chmod(0o1777)
    make = os.mkdir

    def too_late(path: Any, mode: int = 0o777) -> None:
        make(path, 0o700)
        pretend(path, OTHER)
        make(path, mode)

    monkeypatch.setattr(os, "mkdir", too_late)
    assert refused(above / "new").startswith(f"{above / 'new'} belongs to user {OTHER}")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give folders away")
def test_with_real_owners(above: Path) -> None:
    os.chown(above, OTHER, OTHER)
    assert refused(above / "cache") == f"{above} belongs to user {OTHER}, not to you (0) or root"
    os.chown(above, 0, 0)
    os.chown(above / "cache", OTHER, OTHER)
    assert refused(above / "cache").startswith(f"{above / 'cache'} belongs to user {OTHER}")
    (above / "link").symlink_to("/tmp")
    os.lchown(above / "link", OTHER, OTHER)
    assert refused(above / "link" / "cache").startswith(f"{above / 'link'} belongs to user {OTHER}")


def test_files_that_others_can_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.kernel"
    file.write_text("")
    file.chmod(0o644)
    trust.check_file(file, os.stat(file))
    for mode in 0o664, 0o646:
        file.chmod(mode)
        with pytest.raises(UntrustedError, match="others can write to"):
            trust.check_file(file, os.stat(file))
    file.chmod(0o600)
    owner = os.stat(file).st_uid
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    if owner == ROOT:
        trust.check_file(file, os.stat(file))
    else:
        with pytest.raises(UntrustedError, match=f"belongs to user {owner}"):
            trust.check_file(file, os.stat(file))
    with pytest.raises(UntrustedError, match="no ordinary file"):
        trust.check_file(tmp_path, os.stat(tmp_path))
