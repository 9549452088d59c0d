"""The recipe of the embedded base `emoji-64-v1`: from pinned npm packages to a packaged diffusers folder.

Stages, in order, each a module that can be run alone (`python -m base_model STAGE`):

    fetch      sources.py     pinned npm packages, licences checked against an allow-list
    render     drawings.py    SVG to 64 px RGBA drawings with their labels
    scenes     scenes.py      drawings on backgrounds, with captions; held-out pairs stay out
    vae        vae.py         pictures to 16x16x4 latents and back
    identity   identity.py    which drawing is it, whatever the background
    clip       clip.py        tokenizer, and a CLIP whose text tower the base starts from
    unet       unet.py        the denoiser and the text encoder, together
    package    package.py     fp16 folder that ships inside the wheel
    evaluate   evaluate.py    figures against the bars, and contact sheets
    concepts   concepts.py    demo concepts by an artist that the base never saw
    card       card.py        the model card, from the figures

This is a maintainer's tool. The product never imports it; it imports one module of the product, `cns.judges.identity`.
"""
