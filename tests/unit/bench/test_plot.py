import xml.etree.ElementTree as ET

from hermetic.bench.plot import CAP, render
from tests.unit.bench.sample import figure, report

SVG = "{http://www.w3.org/2000/svg}"


def bars(picture):
    """Widths of the bars, in order; the first rectangle is the page."""
    return [float(rect.get("width")) for rect in ET.fromstring(picture).iter(f"{SVG}rect")][1:]


def test_bars_are_as_long_as_their_ratios():
    picture = render(report(figure(threads=1, sealed=0.5), figure(threads=2, sealed=2.0)))
    one, two = bars(picture)
    assert two / one == 4


def test_a_long_bar_is_cut_and_its_number_is_not():
    picture = render(report(figure(threads=1, sealed=1.0), figure(threads=2, sealed=1234.0)))
    one, two = bars(picture)
    assert abs(two / one - CAP) < 0.01
    assert "1234.00 (1234.00 s, plain 1.00 s)" in picture
    texts = [element.text for element in ET.fromstring(picture).iter(f"{SVG}text")]
    assert "1234.0 >" in texts  # in the bar that is cut, and in no other
    assert sum(text.endswith(">") for text in texts) == 1
    assert "line: quartiles; > is cut at 4" in texts


def test_it_is_closed_and_harmless():
    picture = render(report(label="<script>alert(1)</script>"))
    root = ET.fromstring(picture)
    assert not [element for element in root.iter() if element.tag == f"{SVG}script"]
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def test_every_metric_has_a_title_that_a_reader_of_the_screen_gets():
    titles = [element.text for element in ET.fromstring(render(report())).iter(f"{SVG}title")]
    assert titles == ["load/blake3/2: 0.50 (500 ms, plain 1.00 s)", "release: 0.00 (2 ms, plain 1.00 s)"]


def test_noise_is_drawn():
    assert "noisy" in render(report(figure(foreign=0.5)))
