"""The methods that CNS is compared with, on the same base, pictures, captions, prompts, seeds and judges.

Each is built from the libraries that users take (diffusers, peft) and torch's AdamW. What is the same in all of them
and may differ from their papers: the class noun stays in the prompt ("a <rex> dog"), the token's row starts at the
class noun and is trained (the embedded base has no rare token to take instead), no prior images, and as many batches
as CNS takes for warm-up and finetuning together, unless the peer's own sweep on the tuning stream found twice as many
better.
"""
