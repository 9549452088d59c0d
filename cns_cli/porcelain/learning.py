"""The middle of `cns add`: settle the subject, learn it, judge it before and after, store its objects."""

from __future__ import annotations

from collections.abc import Mapping

from cns import codec
from cns.compose import Weights
from cns.drift import kv_drift
from cns.files.images import ImageSet, load_images
from cns.judges.classnoun import ClassNoun, infer_captions, infer_class_noun
from cns.lesson import Learned
from cns.templates import default_token, vector_tokens
from cns.tokens import check_new_token
from cns_cli.porcelain import teaching
from cns_cli.porcelain.judging import judge_images, score_images, store_scores
from cns_cli.porcelain.kinds import STYLE_NOUN
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.outcome import Outcome
from cns_cli.porcelain.request import request_of
from cns_cli.porcelain.saving import Saver
from cns_cli.porcelain.session import Session
from cns_cli.porcelain.teaching import Subject
from cns_cli.porcelain.workbench import Workbench
from cns_cli.progress import Progress
from registry.objects import Blob, Concept, Tree
from registry.pending import Pending, State
from registry.repository import Repository

JUDGED_IMAGES = 2
"""Images of each judge prompt, before and after: enough to tell learned from not, quick enough for every add."""


def learn(options: AddOptions, repo: Repository, progress: Progress, interrupted: State | None = None) -> Outcome:
    """Learn the concept on top of HEAD and store its objects; nothing is committed yet.

    Args:
        options: The request.
        repo: Where.
        progress: Told of progress.
        interrupted: The training to go on with.

    Raises:
        MethodError: Images, token, class noun or settings cannot be used, the training diverged, or the request is
            not the one that was interrupted.
        StateCorrupt: What the interrupted training left is damaged.
    """
    progress.stage("load the model")
    session = Session.open(repo, options.device)
    bench = session.bench
    tree = repo.tree_of(repo.head().commit)
    subject = settle_subject(bench, options, _own_token(session, tree, options))
    settings = teaching.settings_for(bench, options)
    settings.check()
    others = {name: concept_id for name, concept_id in tree.concepts.items() if name != options.name}
    parent = Tree(tree.base, others)
    report = Reporter(progress)
    request = request_of(session, subject, parent, settings, tree.concepts.get(options.name))
    saver = Saver(Pending(repo.folder), options, request, settings, progress)
    state = saver.restore(interrupted) if interrupted else None
    general = teaching.general_neurons_cached(bench, settings, session.cache, tree.base, report)
    session.set_tree(parent)

    progress.stage("judge the class noun")
    pixels = subject.images.pixels
    references = {name: encoder.image_features(pixels) for name, encoder in bench.encoders.items()}
    kind = subject.kind
    pictures_before = judge_images(bench, subject.class_noun, 0, JUDGED_IMAGES, options.seed, kind)
    before = score_images(bench, pictures_before, subject.class_noun, references, kind)

    with saver:
        learned = teaching.teach(session, subject, others, general, settings, report, saver, state)

    progress.stage("judge the concept")
    concept_id = repo.objects.put(
        store_concept(session, subject, learned, repo.objects.put(parent), options.keep_images)
    )
    born = session.birth_tree(concept_id)
    now = session.set_tree(born)
    pictures_after = judge_images(bench, subject.phrase, 0, JUDGED_IMAGES, options.seed, kind)
    after = score_images(bench, pictures_after, subject.class_noun, references, kind)
    store_scores(session, born, concept_id, options.seed, after)
    return Outcome(
        options=options,
        session=session,
        subject=subject,
        learned=learned,
        concept_id=concept_id,
        references=references,
        before=before,
        after=after,
        pictures=(pictures_before, pictures_after),
        drift=drift_since_birth(session, others, now),
        others=others,
        overlap={
            name: codec.overlap(learned.weights.delta, session.concept(one).delta) for name, one in others.items()
        },
    )


def drift_since_birth(session: Session, others: Mapping[str, str], now: Weights) -> dict[str, float]:
    """K/V drift of concepts (name -> concept id) since birth: relative, squared, on the judge's prompts."""
    drift = {}
    for name, concept_id in others.items():
        concept = session.concept(concept_id)
        moments = teaching.judged_moments(session.bench, concept.phrase, concept.kind)
        drift[name] = kv_drift(now, session.birth_weights(concept_id), moments)
    return drift


def settle_subject(bench: Workbench, options: AddOptions, own_token: str | None) -> Subject:
    """Read the images, choose the token and the class noun, caption what has no caption.

    Args:
        bench: The base.
        options: The request.
        own_token: Token of the concept that is replaced; it may be used again.

    Raises:
        ImageError, TokenError, ClassNounError.
    """
    images = load_images(options.images, options.resolution or bench.resolution)
    token = options.token or own_token or default_token(options.name)
    for one in vector_tokens(token, options.vectors):
        if one != own_token:
            check_new_token(bench.model.pipeline.tokenizer, one)
    least = bench.family.defaults.min_class_probability
    noun, confidence = options.class_noun, None
    if options.kind == "style":
        return Subject(options.name, noun or STYLE_NOUN, None, token, images, "style")
    if noun is None:
        found = class_noun_of(bench, options, images)
        noun, confidence = found.noun, found.probability
    captions = infer_captions(images.pixels, images.captions, noun, bench.backgrounds, bench.clip, least)
    return Subject(options.name, noun, confidence, token, images.with_captions(captions))


def class_noun_of(bench: Workbench, options: AddOptions, images: ImageSet) -> ClassNoun:
    """What the images show, where the user does not say it; raises ClassNounError where that is not clear."""
    least, folder = bench.family.defaults.min_class_probability, options.images.resolve().name
    return infer_class_noun(images.pixels, images.captions, bench.nouns, bench.clip, least, folder_name=folder)


def store_concept(session: Session, subject: Subject, learned: Learned, parent: str, keep_images: bool) -> Concept:
    """Put a learned concept's blobs and references into the store and return the concept that names them."""
    put = session.repo.objects.put
    mask, delta = codec.encode(learned.weights.delta)
    rows = {token: row.numpy() for token, row in learned.weights.rows.items()}
    references = session.store_references(subject.images.pixels, subject.images.captions, keep_images)
    return Concept(
        name=subject.name,
        class_noun=subject.class_noun,
        tokens=tuple(rows),
        embedding=put(Blob(codec.encode_rows(rows))),
        mask=put(Blob(mask)),
        delta=put(Blob(delta)),
        recipe=teaching.recipe(session.bench, subject.images, subject.kind),
        references=put(references),
        trained_on=parent,
    )


class Reporter:
    """Hands the method's progress to the shell: a new stage whenever the name changes."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._stage = progress, ""

    def __call__(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Tell that `done` of `total` steps of `stage` are over."""
        if stage != self._stage:
            self._stage = stage
            self._progress.stage(stage, total)
        self._progress.step(done, **numbers)


def _own_token(session: Session, tree: Tree, options: AddOptions) -> str | None:
    if options.name not in tree.concepts:
        return None
    return session.repo.objects.get(tree.concepts[options.name], Concept).tokens[0]
