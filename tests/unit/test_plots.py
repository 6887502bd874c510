"""What pictures draw, read back from what is drawn: values, intervals, and what must not look like a value."""

import io
import math
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from matplotlib.text import Text
from pictures import answer, value
from typer.testing import CliRunner

from cordon.errors import CordonError, Misconfigured, Refused
from cordon.workbench import plots
from cordon.workbench.choosing import drawing_of
from cordon.workbench.cli import query
from cordon.workbench.drawing import (
    Bars,
    Captions,
    Change,
    Effect,
    Forest,
    HeatMap,
    Lines,
    Mark,
    Panels,
    Quantiles,
    Series,
)
from cordon.workbench.output import check_plot
from cordon.workbench.plots import figure_of, plot_answer, save
from cordon.workbench.plots.lettering import clean, shorten, width, wrap
from cordon.workbench.plots.palette import LOOKS, luminance

CAPTIONS = Captions("What was asked", ("3 of 3 forces answered", "cost: epsilon 1"))
INF = math.inf


def mark(label, estimate, half=10.0, **others):
    """A mark whose interval is as long on both sides."""
    return Mark(label, estimate, others.pop("low", estimate - half), others.pop("high", estimate + half), **others)


def absent(label, note="did not answer"):
    """A mark without a value."""
    return Mark(label, math.nan, math.nan, math.nan, note=note)


def found(figure, name):
    """What is drawn under a name."""
    return figure.findobj(lambda artist: artist.get_gid() == name)


def segments(figure, name):
    """Ends of the intervals that are drawn, along the axis of values."""
    (lines,) = found(figure, name)
    flat = lines.get_segments()[0][0][1] == lines.get_segments()[0][1][1]
    return [tuple(float(point[0 if flat else 1]) for point in segment) for segment in lines.get_segments()]


def points(figure, name):
    """Coordinates of markers."""
    return [
        (float(x), float(y))
        for line in found(figure, name)
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def words(figure, name):
    """Texts under a name."""
    return [text.get_text() for text in found(figure, name)]


# Bars

BARS = Bars(
    CAPTIONS,
    "searches",
    (
        Series(
            "",
            (
                mark("a", 500),
                mark("b", -30),
                mark("c", 4, noisy=True),
                absent("d"),
                mark("e", 90, high=INF, noisy=True),
            ),
        ),
    ),
    Series("(all)", (mark("(all)", 600, 20),)),
)


def test_bars_are_as_long_as_the_estimates_and_every_interval_is_drawn():
    """Negative counts are drawn as they are; ends without bound are arrows."""
    figure = figure_of(BARS)
    assert [bar.get_width() for bar in found(figure, "panel0-0-bar")] == [500, -30, 4, 90]
    drawn = segments(figure, "panel0-0-interval")
    assert drawn[:3] == [(490, 510), (-40, -20), (-6, 14)]
    assert drawn[3][0] == 80
    assert [x for x, _ in points(figure, "panel0-0-interval-arrow")] == [drawn[3][1]]
    assert drawn[3][1] > 510, "an arrow leads beyond everything that has an end"
    assert segments(figure, "panel0-total-interval") == [(580, 620)]
    assert [bar.get_width() for bar in found(figure, "panel0-total-bar")] == [600]


def test_what_is_too_noisy_or_absent_never_looks_like_a_value():
    """Too noisy is white with '?', absent is hatched over the whole row with its reason; neither is a zero."""
    figure = figure_of(BARS)
    faces = [to_hex(bar.get_facecolor()) for bar in found(figure, "panel0-0-bar")]
    assert faces == [LOOKS[0].colour.lower(), LOOKS[0].colour.lower(), "#ffffff", "#ffffff"]
    said = words(figure, "panel0-0-value")
    assert said == ["500 (490 to 510)", "-30 (-40 to -20)", "4 ? (-6 to 14)", "90 ? (from 80)"]
    (span,) = found(figure, "panel0-0-absent")
    assert span.get_hatch()
    assert words(figure, "panel0-0-absent-words") == ["did not answer"]
    assert len(found(figure, "panel0-0-bar")) == 4


def test_a_total_that_would_press_the_bars_together_is_written_only():
    """A sum over 43 forces is not drawn beside them."""
    totals = Series("(all)", (mark("(all)", 100_000),))
    figure = figure_of(Bars(CAPTIONS, "n", BARS.series, totals))
    assert not found(figure, "panel0-total-bar")
    assert words(figure, "panel0-total") == ["100,000 (99,990 to 100,010), not drawn to scale"]


# Lines


def series(name, values, **others):
    """A series over months."""
    return Series(
        name, tuple(v if isinstance(v, Mark) else mark(f"2020-{at:02d}", v, **others) for at, v in enumerate(values, 1))
    )


def test_lines_pass_through_the_estimates_and_bands_are_the_intervals():
    """A gap is a gap in line and band, and hatched where nobody has a value."""
    gap = absent("2020-03", "not covered")
    drawing = Lines(CAPTIONS, "n", (series("a", [100, 120, gap, 130]), series("b", [90, 80, gap, 60])))
    figure = figure_of(drawing)
    (line,) = found(figure, "panel0-0-line")
    assert [y for y in line.get_ydata() if not math.isnan(y)] == [100, 120, 130]
    assert math.isnan(line.get_ydata()[2])
    assert segments(figure, "panel0-1-interval") == [(80, 100), (70, 90), (50, 70)]
    bands = found(figure, "panel0-0-band")
    assert [sorted({float(y) for y in band.get_paths()[0].vertices[:, 1]}) for band in bands] == [
        [90, 110, 130],
        [120, 140],
    ]
    (span,) = found(figure, "panel0-absent")
    assert (span.get_x(), span.get_x() + span.get_width()) == (1.5, 2.5)
    (key,) = found(figure, "key")
    assert [text.get_text() for text in key.get_texts()] == ["a", "b", "not covered"]


def test_points_that_are_too_noisy_are_hollow():
    """They stay where they are, and look unlike the others."""
    drawing = Lines(CAPTIONS, "n", (Series("", (mark("2020-01", 100), mark("2020-02", 7, noisy=True))),))
    figure = figure_of(drawing)
    assert points(figure, "panel0-0-points") == [(0, 100)]
    assert points(figure, "panel0-0-noisy") == [(1, 7)]
    (hollow,) = found(figure, "panel0-0-noisy")
    assert hollow.get_markerfacecolor() == "white"


def test_an_axis_that_does_not_begin_at_0_says_so():
    """What would exaggerate a change is said beside the scale."""
    far, near = (figure_of(Lines(CAPTIONS, "n", (series("", values),))) for values in ([1000, 1010], [100, 1010]))
    assert far.axes[0].get_ylabel() == "n (not from 0)"
    assert near.axes[0].get_ylabel() == "n"
    assert near.axes[0].get_ylim()[0] == 0


@pytest.mark.parametrize("lines", [[[5, 6]] * 5, [[1000, 1200], [20, 30]]])
def test_lines_that_could_not_be_told_apart_have_pictures_of_their_own(lines):
    """Too many, or too unlike in size; each of them from 0 on."""
    drawing = Lines(CAPTIONS, "n", tuple(series(f"s{at}", values, half=1) for at, values in enumerate(lines)))
    figure = figure_of(drawing)
    small = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title(loc="left") for axes in small] == [f"s{at}" for at in range(len(lines))]
    assert all(axes.get_ylim()[0] == 0 for axes in small)
    assert "a scale of its own" in words(figure, "notes")[0]


def test_a_change_is_marked_before_its_first_place_with_its_words():
    """In the picture of its series."""
    changes = (Change("b", "2020-03", "from here on 40 % more"),)
    figure = figure_of(Lines(CAPTIONS, "n", (series("a", [9, 9, 9]), series("b", [9, 9, 15])), changes))
    (rule,) = found(figure, "panel0-change")
    assert list(rule.get_xdata()) == [1.5, 1.5]
    assert words(figure, "panel0-change-words") == ["b: from here on 40 % more"]


# Heat maps


def test_cells_have_their_colour_by_value_and_those_too_noisy_are_hatched():
    """Darker is more; a noisy or absent cell has no colour of the scale, and neither sets it."""
    rows = (
        Series("kent", (mark("x", 100), mark("y", 400), mark("z", 5000, 4000, noisy=True))),
        Series("surrey", (absent("x"), absent("y"), absent("z"))),
    )
    figure = figure_of(HeatMap(CAPTIONS, "n", rows))
    cell = {name: found(figure, f"panel0-{name}")[0] for name in ("cell-0-0", "cell-0-1", "noisy-0-2", "absent-1-0")}
    light, dark = (luminance(to_hex(cell[name].get_facecolor())) for name in ("cell-0-0", "cell-0-1"))
    assert light > dark
    assert to_hex(cell["noisy-0-2"].get_facecolor()) == "#ffffff"
    assert cell["noisy-0-2"].get_hatch() != cell["absent-1-0"].get_hatch()
    assert cell["noisy-0-2"].get_hatch()
    assert not cell["cell-0-0"].get_hatch()
    assert words(figure, "panel0-value") == ["100", "400", "5,000 ?"]
    assert words(figure, "panel0-interval") == ["90 to 110", "390 to 410", "1,000 to 9,000"]
    assert words(figure, "panel0-absent-words") == ["did not answer"], "once for a whole row"


def test_intervals_that_have_no_room_in_their_cells_are_summed_up_below():
    """The widest is said, so that nobody takes the values for exact."""
    rows = tuple(Series(f"f{at}", tuple(mark(f"c{c}", 5000, 49) for c in range(20))) for at in range(2))
    figure = figure_of(HeatMap(CAPTIONS, "n", rows))
    assert not found(figure, "panel0-interval")
    assert "the widest has a width of 98" in words(figure, "notes")[0]


# Quantiles and forests


def test_quantiles_rise_as_a_cumulative_curve_does():
    """The least lowest, each with its interval."""
    drawn = (mark("10 %", 18, 1), mark("median", 30, 2), mark("90 %", 55, high=INF, noisy=True))
    figure = figure_of(Quantiles(CAPTIONS, "age", (Series("Suspect", drawn), Series("Other", (absent("10 %"),) * 3))))
    at = points(figure, "panel0-0-point")
    assert [x for x, _ in at] == [18, 30, 55]
    down = figure.axes[0].get_ylim()
    assert down[0] > down[1], "the axis of groups grows downwards"
    assert [y for _, y in at] == sorted((y for _, y in at), reverse=True)
    assert segments(figure, "panel0-0-interval")[:2] == [(17, 19), (28, 32)]
    assert words(figure, "panel0-0-value") == ["18.0", "30.0", "55 ?"]
    assert words(figure, "panel0-1-absent-words") == ["did not answer"]


def effect(label, estimate, low, high):
    """An effect on a ratio, told from 1 by its interval."""
    return Effect(Mark(label, estimate, low, high), low > 1 or high < 1)


def test_a_forest_of_ratios_has_the_line_of_no_effect_and_tells_by_form_what_stands_out():
    """On a logarithmic scale; no '?' where the interval already says whether there is a difference."""
    effects = (effect("Black", 4.3, 4.1, 4.5), effect("Asian", 1.1, 0.9, 1.3), effect("Other", 0.5, -INF, INF))
    figure = figure_of(
        Forest(CAPTIONS, "times", (("", (*effects, Effect(absent("Mixed"), stands_out=False))),), 1.0, ratio=True)
    )
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert 1.0 in axes.get_xticks()
    assert points(figure, "panel0-0-told") == [(4.3, 0)]
    assert points(figure, "panel0-0-untold") == [(1.1, 1), (0.5, 2)]
    drawn = segments(figure, "panel0-0-interval")
    assert drawn[:2] == [(4.1, 4.5), (0.9, 1.3)]
    assert len(points(figure, "panel0-0-interval-arrow")) == 2
    assert words(figure, "panel0-0-value") == [
        "4.30 (4.10 to 4.50)",
        "1.10 (0.90 to 1.30)",
        "0.50 (any value)",
        "did not answer",
    ]
    assert axes.get_xlim()[0] < drawn[2][0] * 1.001


def test_an_interval_without_an_estimate_is_drawn_alone():
    """A ratio of which only an end is known says that much, and has no marker."""
    half = Mark("Mixed", math.nan, -INF, 0.8, note="too noisy to say")
    figure = figure_of(
        Forest(
            CAPTIONS, "times", (("", (effect("Black", 2, 1.5, 2.5), Effect(half, stands_out=False))),), 1.0, ratio=True
        )
    )
    assert segments(figure, "panel0-0-interval")[1][1] == 0.8
    assert not points(figure, "panel0-0-untold")
    assert words(figure, "panel0-0-value")[1] == "too noisy to say"
    assert not found(figure, "panel0-0-absent"), "it is no force without an answer"


def test_a_forest_of_coefficients_stands_beside_0_under_its_headings():
    """Headings are lines of their own."""
    groups = (
        ("age", (Effect(mark("a year", 3, 1), stands_out=True),)),
        ("role", (Effect(mark("Witness", -5, 8), stands_out=False),)),
    )
    figure = figure_of(Forest(CAPTIONS, "GBP", groups, 0.0))
    axes = figure.axes[0]
    assert axes.get_xscale() == "linear"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["age", "a year", "role", "Witness"]
    assert points(figure, "panel0-0-told") == [(3, 1)]
    assert segments(figure, "panel0-0-interval") == [(2, 4), (-13, 3)]


@pytest.mark.parametrize("by_force", [True, False])
def test_forces_by_groups_stand_side_by_side(by_force):
    """172 lines below one another would be read by nobody, whichever way round they are given."""
    forces, groups = [f"force {at}" for at in range(43)], ["Black", "Asian"]
    outer, inner = (forces, groups) if by_force else (groups, forces)
    drawn = tuple((one, tuple(effect(other, 2.0, 1.5, 2.5) for other in inner)) for one in outer)
    figure = figure_of(Forest(CAPTIONS, "times", drawn, 1.0, ratio=True))
    assert [axes.get_title(loc="left") for axes in figure.axes] == groups
    assert [len(points(figure, f"panel0-{at}-told")) for at in range(2)] == [43, 43]
    assert figure.get_size_inches()[1] < 15


# The page

EVERY = {
    "bars": BARS,
    "forces": Bars(CAPTIONS, "n", (Series("", tuple(mark(f"a force with a rather long name {at}", at * 100) for at in range(43))),)),
    "grouped": Bars(CAPTIONS, "n", tuple(Series(f"s{s}", tuple(mark(f"p{p}", 10**s * p) for p in range(4))) for s in range(5))),
    "lines": Lines(CAPTIONS, "n", (series("a", range(100, 112)), series("b", range(90, 102))), (Change("a", "2020-04", "more " * 20), Change("b", "2020-09", "fewer " * 9))),
    "small": Lines(CAPTIONS, "n", tuple(series(f"force {s}", [absent(f"2020-{m:02d}") if s == 2 else m * 10**s for m in range(1, 7)]) for s in range(5))),
    "heat": HeatMap(CAPTIONS, "n", tuple(Series(f"force {r}", tuple(mark(f"a label of some length {c}", r * c * 1234) for c in range(6))) for r in range(4))),
    "wide": HeatMap(CAPTIONS, "n", tuple(Series(f"force {r}", tuple(mark(f"a label of some length {c}", r * c * 1234) for c in range(20))) for r in range(2))),
    "quantiles": Quantiles(CAPTIONS, "age", tuple(Series(f"g{g}", tuple(mark(f"{q} %", q + 5 * g, 3) for q in (5, 25, 50, 75, 95))) for g in range(3))),
    "forest": Forest(CAPTIONS, "times", tuple((f"force {f}", tuple(effect(g, 1.5 + f, 1 + f, 2 + f) for g in ("Black", "Asian"))) for f in range(4)), 1.0, ratio=True),
    "panels": Panels(CAPTIONS, (BARS, Bars(Captions("another measure"), "m", (Series("", (mark("a", 5, 1),)),)))),
}  # fmt: skip


def boxes(figure, monkeypatch):
    """Where each text that is drawn stands, in pixels, and what it says."""
    drawn = []

    def record(text, _):
        drawn.extend([text] if text.get_visible() and text.get_text().strip() else [])

    with monkeypatch.context() as patched:
        patched.setattr(Text, "draw", record)
        figure.canvas.draw()
    return [(text.get_text(), Text.get_window_extent(text, figure.canvas.get_renderer())) for text in drawn]


def overlaps(one, other):
    """Whether two boxes share more than a hair."""
    return min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1


@pytest.mark.parametrize("kind", EVERY)
def test_no_text_overlaps_another_and_none_leaves_the_page(kind, monkeypatch):
    """Of every kind of picture, measured where it is drawn."""
    figure = figure_of(EVERY[kind])
    placed = boxes(figure, monkeypatch)
    assert len(placed) > 5
    page = figure.bbox
    assert not [
        words for words, box in placed if box.x0 < page.x0 or box.x1 > page.x1 or box.y0 < page.y0 or box.y1 > page.y1
    ]
    clash = [(a, b) for at, (a, one) in enumerate(placed) for b, other in placed[at + 1 :] if overlaps(one, other)]
    assert not clash


def test_colours_differ_in_lightness_too():
    """CIE L* of the first five differ by at least 10, so that grey paper keeps them apart; so do hatch and marker."""
    lightness = sorted(116 * max(luminance(look.colour), 0.0089) ** (1 / 3) - 16 for look in LOOKS)
    assert all(later - earlier >= 10 for earlier, later in pairwise(lightness))
    for part in ("marker", "hatch"):
        assert len({getattr(look, part) for look in LOOKS}) == len(LOOKS)


HOSTILE = "$\\frac{1}{0}$ \x1b[31m<script>&'\"\u202eevil\u0000\n]]>--><!-- 漢 Łódź"


def test_texts_of_others_are_drawn_sign_by_sign(tmp_path):
    """No formulas, no control or reordering signs, no markup; what the font lacks is a replacement sign."""
    asked = answer(HOSTILE, ["g"], ["n"], [((HOSTILE,), [value(5)]), (("b",), HOSTILE)], caveat=HOSTILE)
    figure = plot_answer(asked, tmp_path / "x.svg")
    texts = "".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))
    assert "$\\frac{1}{0}$" in texts
    assert not {"\x1b", "\u202e", "\u0000", "漢"} & set(texts)
    assert "Łódź" in texts
    content = (tmp_path / "x.svg").read_text()
    assert "<script>" not in content
    tree = ET.fromstring(content)
    title = tree.find(".//{http://purl.org/dc/elements/1.1/}title")
    assert title is not None
    assert "<script>&'\"" in title.text


def test_an_svg_is_well_formed_says_what_it_shows_and_is_the_same_each_time(tmp_path):
    """So that a picture can be compared, and read aloud."""
    for name in ("a", "b"):
        save(figure_of(BARS), tmp_path / f"{name}.svg")
    content = (tmp_path / "a.svg").read_bytes()
    assert content == (tmp_path / "b.svg").read_bytes()
    tree = ET.fromstring(content)
    dc = "{http://purl.org/dc/elements/1.1/}"
    assert tree.find(f".//{dc}title").text == "What was asked"
    assert "3 of 3 forces answered" in tree.find(f".//{dc}description").text
    assert tree.find(f".//{dc}date") is None
    assert any(element.get("id") == "panel0-0-interval" for element in tree.iter())


def test_a_png_is_written_whole_over_what_was_there(tmp_path):
    """The bytes that the figure has, and nothing left behind."""
    path = tmp_path / "x.PNG"
    path.write_text("an earlier picture")
    figure = figure_of(BARS)
    save(figure, path)
    content = path.read_bytes()
    assert content[:4] == b"\x89PNG"
    assert imread(io.BytesIO(content)).shape[1] == 1500
    assert figure._repr_png_()[:4] == b"\x89PNG"
    assert [p.name for p in tmp_path.iterdir()] == ["x.PNG"]


def test_a_picture_that_cannot_be_written_is_refused_and_leaves_what_was_there(tmp_path, monkeypatch):
    """By its ending, its folder, or a failure half-way."""
    figure = figure_of(BARS)
    with pytest.raises(Refused, match="names no form of picture"):
        save(figure, tmp_path / "x.pdf")
    with pytest.raises(Misconfigured, match="there is no"):
        check_plot(tmp_path / "nowhere" / "x.png")
    (tmp_path / "x.png").write_text("an earlier picture")

    def broken(*_):
        raise OSError

    monkeypatch.setattr(plots, "content_of", broken)
    with pytest.raises(OSError):
        save(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_text() == "an earlier picture"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("x.jpeg", "names no form of picture"), ("nowhere/x.png", "there is no"), ("x.png", "needs matplotlib")],
)
def test_a_command_finds_out_before_it_asks_that_it_could_not_draw(tmp_path, monkeypatch, name, refusal):
    """Before a profile is read: a question that is paid for has its picture."""
    if name == "x.png":
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = [
        "SELECT COUNT(*) FROM events",
        "--plot",
        str(tmp_path / name),
        "--profile",
        str(tmp_path / "none.toml"),
    ]
    result = CliRunner().invoke(query, arguments)
    assert isinstance(result.exception, CordonError)
    assert refusal in str(result.exception)
    assert ("cordon[plot]" in result.exception.hint) is (name == "x.png")


def test_pictures_open_no_window_and_leave_no_state():
    """pyplot, which keeps figures and may open windows, is not loaded; settings are as before."""
    code = (
        "import sys, matplotlib as mpl; before = mpl.rcParams.copy()\n"
        "from cordon.workbench.plots import figure_of, content_of\n"
        "from cordon.workbench.drawing import *\n"
        "content_of(figure_of(Bars(Captions('x'), 'n', (Series('', (Mark('a', 1.0, 0.0, 2.0),)),))), 'svg')\n"
        "assert 'matplotlib.pyplot' not in sys.modules and mpl.rcParams.copy() == before"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_answers_plot_is_the_picture_of_its_drawing(tmp_path):
    """The analyst's one call: chosen, drawn and written."""
    asked = answer("SELECT g, COUNT(*) AS n FROM s GROUP BY g", ["g"], ["n"], [(("a",), [value(5, 1)])])
    figure = asked.plot(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").exists()
    assert words(figure, "title") == [asked.sql]
    assert words(figure, "panel0-0-value") == ["5.0 (4.0 to 6.0)"]
    assert drawing_of(asked).captions.lines[-1] in words(figure, "notes")[0].replace("\n", " ")


@pytest.mark.parametrize(
    "drawing", [Bars(CAPTIONS, "n", ()), Panels(CAPTIONS, ()), Forest(CAPTIONS, "n", (("", ()),), 0.0)]
)
def test_nothing_is_not_drawn(drawing):
    """A picture of nothing would look like a picture of zero."""
    with pytest.raises(Refused, match="nothing to draw"):
        figure_of(drawing)


def test_lines_of_text_fit_their_room():
    """Words are kept whole where they can be, cut where not, and an ellipsis says what is missing."""
    lines = wrap("one two three " + "W" * 80, 1.5, 9, most=9)
    assert " ".join(lines[:2]).startswith("one two three")
    assert all(width(line, 9) <= 1.5 for line in lines)
    assert "".join(lines[1:]).count("W") == 80
    assert wrap("word " * 50, 1.0, 9, most=2)[-1].endswith("…")
    assert width(shorten("W" * 80, 1.0, 9), 9) <= 1.0
    assert clean("a\tb\u200b\x07c") == "a bc"
