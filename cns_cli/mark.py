"""The mark that a model made a picture: IPTC's digital source type in XMP, which cameras, editors and platforms read.

Article 50 of the EU AI Act asks for it in a form that machines read. A sheet that shows photographs beside what a model
made is a composite, which has a word of its own: https://cv.iptc.org/newscodes/digitalsourcetype/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MADE_BY_MODEL = f"{SOURCE_TYPES}trainedAlgorithmicMedia"
PARTLY_BY_MODEL = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
XMP_OF_PNG = "XML:com.adobe.xmp"
"""Keyword of the PNG chunk that holds XMP."""


def xmp(source_type: str = MADE_BY_MODEL) -> str:
    """Return the mark as an XMP packet."""
    return f"""\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def marked(source_type: str = MADE_BY_MODEL) -> PngInfo:
    """Return the chunks of a PNG that hold the mark."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_itxt(XMP_OF_PNG, xmp(source_type))
    return chunks
