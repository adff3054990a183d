"""The readable text of a page: its headings, paragraphs and lists, without what surrounds them."""

from selectolax.lexbor import LexborHTMLParser

from assistant_runtime.security.fetch_guard import Page

SURROUNDINGS = ("script", "style", "noscript", "template", "svg", "iframe", "nav", "footer", "form", "aside")
"""What a reader skips."""


def title_and_text(page: Page) -> tuple[str, str]:
    """Give the page's title and text; a page that is not HTML is its own text."""
    try:
        decoded = page.body.decode(page.charset, "replace")
    except LookupError:
        decoded = page.body.decode("utf-8", "replace")
    if "html" not in page.content_type:
        return page.url, decoded
    tree = LexborHTMLParser(decoded)
    title = tree.css_first("title")
    for node in tree.css(",".join(SURROUNDINGS)):
        node.decompose()
    body = tree.css_first("main") or tree.css_first("article") or tree.body
    text = body.text(separator="\n", strip=True) if body else ""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return (title.text(strip=True) if title else "") or page.url, "\n".join(line for line in lines if line)
