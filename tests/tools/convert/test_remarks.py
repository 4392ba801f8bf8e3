import json
from dataclasses import asdict

from tools.convert.remarks import Remark, Remarks


def test_remarks_are_counted_by_kind_with_the_first_five_named():
    remarks = Remarks()
    for number in range(7):
        remarks.add("box", "left out", f"a.jpg annotation {number}")
    remarks.add("image", "odd", "b.jpg")
    assert [remark.sentence() for remark in remarks.as_tuple()] == [
        "7 boxes left out: " + ", ".join(f"a.jpg annotation {number}" for number in range(5)) + " and 2 more",
        "1 image odd: b.jpg",
    ]


def test_merged_remarks_keep_their_counts_and_no_more_than_five_names():
    parts = []
    for start in (0, 4, 1000):
        part = Remarks()
        for number in range(start, start + 4):
            part.add("box", "left out", str(number))
        parts.append(part.as_tuple())
    total = Remarks()
    for part in parts:
        total.merge(part)
    assert total.as_tuple() == (Remark(noun="box", what="left out", count=12, first=("0", "1", "2", "3", "4")),)


def test_a_remark_survives_json():
    remark = Remark(noun="box", what="left out", count=3, first=("a", "b"))
    assert Remark(**json.loads(json.dumps(asdict(remark)))) == remark


def test_names_that_are_not_text_are_shown_escaped():
    assert Remark(noun="box", what="odd", count=1, first=("a\udce9\n",)).sentence() == "1 box odd: a\\udce9\\n"


def test_nothing_to_remark_is_nothing():
    assert Remarks().as_tuple() == ()
