"""The middle of `cns add`: settle the subject, learn it, judge it before and after, store its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from cns import codec
from cns.families import BARE_SHARE
from cns.files.images import ImageSet
from cns.presets import PRESETS
from cns.report import Report, Unwatched, Watch
from cns.resume import Checkpoint, TrainingState, forget
from cns.task import Learned, Settings, TrainingConstraints, TrainingTask
from cns.templates import fill_templates
from cns.training import first_rows, learn_concept
from cns_cli.porcelain.learning.addition import Addition
from cns_cli.porcelain.learning.continuing import Earlier
from cns_cli.porcelain.learning.general import general_neurons_for
from cns_cli.porcelain.learning.judged import Judged, Viewing
from cns_cli.porcelain.learning.memory import sparing
from cns_cli.porcelain.learning.past import calibration_moments, drift_since_birth, masks_of, past_concepts
from cns_cli.porcelain.learning.samples import Samples
from cns_cli.porcelain.learning.saving import Saver, request_of
from cns_cli.porcelain.learning.subject import (
    Subject,
    known_tokens,
    own_token,
    recipe,
    settle_subject,
    training_prompts,
)
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.kept import Kept
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.scoring.judging import protocol_of
from cns_cli.porcelain.scoring.keys import EvaluationKey, Evaluations
from cns_cli.porcelain.scoring.scores import EvaluationStore
from cns_cli.progress import Progress
from registry.objects import Blob, Compose, Concept, Tree
from registry.pending import Pending, State
from registry.repository import Repository
from registry.trees import trained_in, with_concept


def learn(
    options: AddOptions,
    photos: ImageSet,
    repo: Repository,
    progress: Progress,
    interrupted: State | None = None,
    kept: Kept | None = None,
) -> Addition:
    """Learn the concept on top of HEAD and store its objects; nothing is committed yet.

    Args:
        options: The request.
        photos: Its images, read.
        repo: Where.
        progress: Told of progress.
        interrupted: The training to go on with.
        kept: Has its base, or loads it.

    Raises:
        MethodError: Images, token, class noun or settings cannot be used, the training diverged, or the request is
            not the one that was interrupted.
        StateCorrupt: What the interrupted training left is damaged.
    """
    progress.stage("load the model")
    session = (kept or Kept()).open(repo, options.device, options.dtype)
    base = session.base
    tree = repo.tree_of(repo.head().commit)
    subject, settings = _settled(session, tree, options, photos)
    _tell(subject, progress)
    parent = trained_in(tree, options.name)
    others = parent.concepts
    report = Reporter(progress)
    request = request_of(session, subject, parent, settings, tree.concepts.get(options.name))
    saver = Saver(Pending(repo.folder), options, request, settings, progress)
    state = saver.restore(interrupted) if interrupted else None
    references = {name: encoder.image_features(subject.images.pixels) for name, encoder in base.encoders.items()}
    progress.stage("judge what it is now" if subject.start else "judge the class noun")
    session.set_tree(with_concept(parent, subject.name, subject.continues) if subject.continues else parent)
    viewing = Viewing.of(base, options)
    before = viewing.judged(base, subject, subject.was, references, options.seed)

    samples = Samples(session, subject, parent, options, state is not None, progress)
    with saver, sparing(base, settings, subject.images.pixels.shape[1], options.gradient_checkpointing, progress):
        general = general_neurons_for(base, settings, session.cache, tree.base, report)
        session.set_tree(parent)
        learned = teach(session, subject, parent, general, settings, report, saver, state, samples)

    progress.stage("judge the concept")
    concept_id = store_concept(session, subject, learned, parent, options.keep_images)
    born = session.birth_tree(concept_id)
    now = session.set_tree(born)
    after = viewing.judged(base, subject, subject.phrase, references, options.seed)
    alone = viewing.judged_alone(base, subject, references, options.seed)
    if viewing.whole:
        _keep_scores(session, EvaluationKey("concept", born, concept_id, subject.name, of=subject.kind), after, options)
    drift = drift_since_birth(session, others, now)
    return Addition(
        options, session, subject, learned, concept_id, references, before, after, alone, drift, others, samples,
        tree.compose,
    )  # fmt: skip


def _tell(subject: Subject, progress: Progress) -> None:
    """Say what was taken for captions and masks, and what is doubtful, before the time of a training is spent."""
    progress.note(f"captions: {subject.captions}")
    if taken := subject.images.masks_taken:
        progress.note(f"masks: {taken}")
    for warning in subject.warnings:
        progress.note(f"warning: {warning}")


def _keep_scores(session: Session, key: EvaluationKey, judged: Judged, options: AddOptions) -> None:
    """Store scores, from which a check goes on."""
    evaluations = Evaluations(EvaluationStore(session.repo), protocol_of(session.base, options.seed))
    evaluations.add(key, key.name, judged.scores.to_json())


def _settled(session: Session, tree: Tree, options: AddOptions, photos: ImageSet) -> tuple[Subject, Settings]:
    """What is to be learned in a tree, and how."""
    own, known = own_token(session, tree, options), known_tokens(session, tree, options)
    earlier = Earlier.of(session, tree, options)
    asked = earlier.told(options) if earlier else options
    subject = settle_subject(session.base, asked, photos, own, known)
    subject = earlier.joined(subject) if earlier else subject
    settings = settings_for(session.base, asked, tree.compose, len(subject.images.images))
    settings = earlier.kept(settings) if earlier else settings
    settings.check()
    if not trained_in(tree, options.name).concepts:  # whose votes it would count
        settings = replace(settings, past_vote=None)
    return subject, settings


def settings_for(base: LoadedBase, options: AddOptions, compose: Compose, images: int) -> Settings:
    """The preset's settings, for what prompts see of the model and so many images, with what the user gave instead."""
    defaults = PRESETS[options.preset].of(base.family).defaults
    kv, denoiser = base.model.kv_size, base.model.denoiser_size
    budget = defaults.budget(kv, denoiser) if options.budget is None else max(1, int(options.budget * kv))
    directions, size = directions_for(base, options, compose), options.batch_size or defaults.batch_size
    given = {
        "score": options.score or None,
        "reg": options.reg or None,
        "reg_strength": options.reg_strength,
        "anchor_strength": options.anchor,
        "steps": options.steps or (options.repeats and -(-options.repeats * images // size)),
        "warmup_steps": options.warmup,
        "batch_size": options.batch_size,
        "hold_out": options.hold_out or None,
        "lr": options.lr or (base.family.direction_lr if directions else None),
    }
    return Settings(
        **{**defaults.shared(), **{name: value for name, value in given.items() if value is not None}},
        budget=budget,
        seed=options.seed,
        past_vote=options.past_vote,
        vectors=options.vectors,
        init=options.init or "",
        norm_guard=options.norm_guard,
        prior=options.prior,
        directions=directions,
        bare_share=BARE_SHARE if options.kind == "object" else 0.0,
        dtype=options.dtype,
    )


def directions_for(base: LoadedBase, options: AddOptions, compose: Compose) -> int:
    """The rank of a concept's change: what was asked for; or the family's, where concepts act by name.

    It is 0 with what is about masks.
    """
    if options.directions is not None:
        return options.directions
    of_masks = (options.budget, options.score, options.past_vote)
    masked = any(one is not None for one in of_masks) or (options.reg or "").startswith("project")
    return 0 if masked or compose == "all" else base.family.directions


def teach(
    session: Session,
    subject: Subject,
    tree: Tree,
    general: Mapping[str, Tensor],
    settings: Settings,
    report: Report,
    checkpoint: Checkpoint = forget,
    state: TrainingState | None = None,
    watch: Watch = Unwatched(),  # noqa: B008 (it has no state)
) -> Learned:
    """Learn a subject on top of a tree, which the live model must hold.

    The last three are those of `cns.training.learn_concept`.
    """
    base, others = session.base, tree.concepts
    parent = base.model.compose(session.parts(tree))
    task = task_of(base, subject, settings)
    if settings.prior:
        base.model.write(parent)
    first_rows(base.model, task, settings)  # the new token must exist before pair prompts are encoded
    past = past_concepts(session, others, subject) if settings.reg != "none" else []
    voters = others.values() if settings.past_vote is not None else ()
    masks = [masks_of(one) for one in map(session.concept, voters) if not one.rank]
    erased = base.model.compose(session.erasure(tree))
    constraints = TrainingConstraints(past, calibration_moments(base), general, masks, erased)
    return learn_concept(base.model, parent, task, constraints, settings, report, checkpoint, state, watch)


def task_of(base: LoadedBase, subject: Subject, settings: Settings) -> TrainingTask:
    """What is to be learned, as the method takes it; where prior images are made, the live model is the base then."""
    task = TrainingTask(
        name=subject.name,
        class_noun=subject.class_noun,
        token=subject.token,
        images=subject.images.pixels,
        prompts=training_prompts(base, subject),
        kind=subject.kind,
        image_masks=subject.images.masks,
        start=subject.start,
        framings=subject.images.framings,
    )
    if settings.prior == 0:
        return task
    base.model.write(base.model.base)
    nouns = fill_templates(base.family.templates(subject.kind).training, subject.class_noun)
    texts = [nouns[number % len(nouns)] for number in range(settings.prior)]
    images = base.images(texts, range(settings.seed, settings.seed + settings.prior))
    return replace(task, prior=images, prior_prompts=texts)


def store_concept(session: Session, subject: Subject, learned: Learned, parent: Tree, keep_images: bool) -> str:
    """Put a learned concept, its blobs, its references and the tree it was learned on into the store; return its id."""
    put = session.repo.objects.put
    mask, delta = codec.encode(learned.weights.delta)
    rows = {token: row.numpy() for token, row in learned.weights.rows.items()}
    references = session.store_references(subject.images, keep_images)
    return put(
        Concept(
            name=subject.name,
            class_noun=subject.class_noun,
            tokens=tuple(rows),
            embedding=put(Blob(codec.encode_rows(rows))),
            mask=put(Blob(mask)),
            delta=put(Blob(delta)),
            recipe=recipe(session.base, subject),
            references=put(references),
            trained_on=put(parent),
        )
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
