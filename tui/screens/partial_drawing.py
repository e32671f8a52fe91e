"""A change of a few rows draws these rows, and only the widgets that reach into them."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import Compositor
from textual.geometry import Region
from textual.strip import Strip


class PartialCompositor(Compositor):
    """Textual's own draws every widget whose container the change touches, as a whole: fifteen for a row of a reply."""

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Where each widget is, where it is seen, and the rows of it that are; front to back.

        Columns are left as they are, for Textual cuts each row where a widget begins or ends.
        """
        if crop is None:
            yield from super()._get_renders()
            return
        rows = Region(0, crop.y, self.size.width, crop.height)
        for widget, (region, clip) in self.visible_widgets.items():
            clip_of_rows = clip.intersection(rows)
            seen = region.intersection(clip_of_rows)
            if seen and seen.overlaps(crop):
                yield region, clip_of_rows, widget.render_lines(seen.translate(-region.offset))
