"""What is new in journals, for who only reads them."""

from __future__ import annotations

import pytest

from cxgi_bluesky.catalog.follow import JournalNews
from cxgi_bluesky.catalog.journal import Journal, journal_folder, to_line, write_journal

START = ("start", {"uid": "one", "time": 1.0})
EVENT = ("event", {"uid": "two", "seq_num": 1})
STOP = ("stop", {"uid": "three", "run_start": "one"})


@pytest.fixture
def journal(tmp_path):
    made = Journal(journal_folder(tmp_path), START[1])
    yield made
    made.close()


def test_each_document_comes_once_and_whole(tmp_path, journal):
    news = JournalNews(tmp_path)
    assert list(news.documents()) == [START]
    line = to_line(*EVENT)
    with journal.path.open("ab") as file:
        file.write(line[:10])
    assert list(news.documents()) == []
    with journal.path.open("ab") as file:
        file.write(line[10:])
    assert list(news.documents()) == [EVENT]
    assert list(news.documents()) == []


def test_a_journal_that_was_replaced_is_read_from_its_beginning(tmp_path, journal):
    news = JournalNews(tmp_path)
    list(news.documents())
    write_journal(journal.path, [START, EVENT])
    assert list(news.documents()) == [START, EVENT]


def test_journals_that_begin_later_are_found_and_those_that_are_left_over_are_not_read(tmp_path):
    folder = journal_folder(tmp_path)
    Journal(folder, {"uid": "old", "time": 0.0}).close()
    news = JournalNews(tmp_path)
    later = Journal(folder, START[1])
    assert list(news.documents()) == [START]
    assert news.cut_off() == []
    later.close()


def test_a_run_that_is_stored_is_told_once(tmp_path, journal):
    news = JournalNews(tmp_path)
    list(news.documents())
    assert news.removed() == []
    journal.remove()
    assert (news.removed(), news.removed(), list(news.documents())) == (["one"], [], [])


@pytest.mark.parametrize(("ended", "told"), [(False, ["one"]), (True, [])])
def test_a_process_that_ends_before_its_run_is_told_once(ended, told, tmp_path, journal):
    if ended:
        journal(*STOP)
    news = JournalNews(tmp_path)
    list(news.documents())
    assert news.cut_off() == []
    journal.close()
    assert (news.cut_off(), news.cut_off()) == (told, [])


def test_a_folder_that_is_not_there_yet_has_no_news(tmp_path):
    news = JournalNews(tmp_path / "later")
    assert (list(news.documents()), news.removed(), news.cut_off()) == ([], [], [])
