"""Words that are too long to be shown whole."""

import pytest
from support.bad_input import check_refused, everything, named

# What is too long to be shown whole: field, how much of what, and the end of the line.
LONG = [
    (["sweep", "name=" + "a" * 9_990], "name='aaaa", "beginning with a letter or digit, at most 80"),
    (["sweep", "name=" + "a" * 10_000], "name=aaaa", "at most 10,000, an axis as range(from,to,step)"),
    (["sweep", "k" * 10_000 + "=1"], "kkkk", "at most 10,000, an axis as range(from,to,step)"),
    (["sweep", "k" * 5_000 + "=1"], "overrides=kkkk", "resdepth sweep --help shows how overrides are written"),
    (["sweep", "depth=" + "9" * 5_000], "depth=9999", "'data.path=\"a b.npz\"'"),
    (["sweep", "recipe.lr=" + "9" * 5_000], "recipe.lr=9999", "'data.path=\"a b.npz\"'"),
    (["sweep", "depth=" + "[" * 3_000], "depth=[[[[", "'data.path=\"a b.npz\"'"),
    (["sweep", "depth=" + "[" * 3_000 + "]" * 3_000], "depth=[[[[", "'data.path=\"a b.npz\"'"),
    (["sweep", "depth=" + "{a:" * 1_000 + "1" + "}" * 1_000], "depth={a:{a:", "'data.path=\"a b.npz\"'"),
    (["sweep", "data=npz", "data.path=" + "a" * 5_000], "data.path='aaaa", "characters; shorten it"),
    (["sweep", "data=npz", "data.path=" + "a/" * 2_500], "data.path='a/a/", "characters; shorten it"),
    (["sweep", "results=" + "a" * 5_000], "results='aaaa", "characters; shorten it"),
    (["sweep", "results=" + "a/" * 2_500], "results='a/a/", "characters; shorten it"),
    (["sweep", "results=" + "a" * 900], "results=aaaa", "choose another path"),
    (["sweep", "data=npz", "data.path=" + "a" * 900], "data.path=aaaa", "choose another path"),
    (["sweep", "data=mnist", "data.root=" + "a" * 900], "data.root=aaaa", "choose another path"),
    (["sweep", "data=mnist", "data.root=" + "a" * 5_000], "data.root='aaaa", "characters; shorten it"),
    (["sweep", "--config-dir", "a" * 5_000], "--config-dir=aaaa", "choose another path"),
    (["plot", "a" * 5_000], "results=aaaa", "choose another path"),
    (["summary", "a" * 5_000], "results=aaaa", "choose another path"),
    (["a" * 5_000], "No such command 'aaaa", "see resdepth --help"),
]


@pytest.mark.parametrize(("words", "begins", "ends"), LONG, ids=[named(i, words) for i, (words, *_) in enumerate(LONG)])
def test_what_is_very_long_is_named_by_its_beginning_and_the_remedy_stays(words, begins, ends, resdepth, tmp_path):
    said = resdepth(*words)
    check_refused(said, begins)
    assert said.err.endswith(f"{ends}\n")
    assert not everything(tmp_path)
