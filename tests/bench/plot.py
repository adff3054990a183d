"""A line chart as SVG: what grows with what."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 24, 48
COLOURS = ("#2563eb", "#9ca3af", "#dc2626", "#059669")
TICKS = 5


def line_chart(lines: Mapping[str, Points], *, x: str, y: str) -> str:
    """Draw lines by their names, from (0, 0) to the largest point; `x` and `y` name the axes."""
    right = max(point[0] for points in lines.values() for point in points)
    top = max(point[1] for points in lines.values() for point in points)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return round(LEFT + width * point[0] / right, 1), round(HEIGHT - BOTTOM - height * point[1] / top, 1)

    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_axes(right, top, x, y),
    ]
    for number, (name, points) in enumerate(lines.items()):
        placed = [place(point) for point in points]
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{left},{up}" for left, up in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{left}" cy="{up}" r="3" fill="{colour}"/>' for left, up in placed]
        last = placed[-1]
        parts.append(f'<text x="{last[0] + 8}" y="{last[1] + 4}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _axes(right: float, top: float, x: str, y: str) -> list[str]:
    bottom, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<path d="M{LEFT},{TOP} V{bottom} H{end}" fill="none" stroke="#374151"/>',
        f'<text x="{(LEFT + end) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x)}</text>',
        f'<text x="{LEFT}" y="{TOP - 8}">{escape(y)}</text>',
    ]
    for tick in range(TICKS + 1):
        share = tick / TICKS
        left, up = LEFT + (end - LEFT) * share, bottom - (bottom - TOP) * share
        parts.append(f'<text x="{left:.0f}" y="{bottom + 18}" text-anchor="middle">{right * share:,.0f}</text>')
        parts.append(f'<text x="{LEFT - 8}" y="{up + 4:.0f}" text-anchor="end">{top * share:,.3g}</text>')
    return parts
