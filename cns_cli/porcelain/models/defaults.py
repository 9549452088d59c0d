"""What the families of base models have as defaults, in words: for help pages, and for options typed by habit."""

from __future__ import annotations

from cns.families import FAMILIES


def family_defaults(field: str) -> str:
    """Return what each family has as a default, in words: `250 (emoji-64), 500 (sd-1, sd-2)`."""
    named: dict[str, list[str]] = {}
    for name, family in FAMILIES.items():
        ours = family.defaults
        if field == "directions":
            said = str(family.directions)
        elif field == "lr":
            said = f"{family.direction_lr:g}, in a mask {ours.lr:g}"
        elif field != "budget":
            value = getattr(ours, field)
            said = value if isinstance(value, str) else f"{value:g}"
        elif ours.budget_share_kv is not None:
            said = f"{100 * ours.budget_share_kv:g}% of K/V"
        else:
            said = f"{100 * (ours.budget_share_denoiser or 0):g}% of the denoiser"
        named.setdefault(said, []).append(name)
    return ", ".join(f"{said} ({', '.join(names)})" for said, names in named.items())
