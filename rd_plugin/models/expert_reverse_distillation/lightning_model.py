# SPDX-License-Identifier: Apache-2.0
"""RD with Expert in anomalib's engine (Liu, Wang, Leng and Zhang, AAAI 2025)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from anomalib.data import ImageBatch
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, optim

from rd_plugin.callbacks import OnBadData
from rd_plugin.data.textures import Textures
from rd_plugin.models.components import (
    AnomalyMapMode,
    BlurBorder,
    DeviationType,
    FeatureCacheType,
    ForegroundType,
    InjectionType,
    ScoreType,
    Teacher,
    TwinGenerator,
)
from rd_plugin.models.distillation import Distillation

from .loss import StudentLoss, TeacherLoss
from .torch_model import ExpertReverseDistillationModel

__all__ = ["ExpertReverseDistillation"]


class ExpertReverseDistillation(Distillation):
    """RD with Expert: reverse distillation with a teacher that an expert teaches, and teacher features for the student.

    Each training image gets a twin with synthetic anomalies. A frozen expert, which is the pre-trained network, teaches
    the teacher, which starts as the same network, to keep its features on what is normal and to change them on
    anomalies. On the same batch the student then learns to rebuild the normal features from the teacher's, be they of
    the image or of its twin. At inference there are teacher and student only, and the anomaly map is that of
    :class:`~rd_plugin.models.reverse_distillation.ReverseDistillation`.

    The weights after the last step are kept; the authors' script keeps those of the epoch that is best on the test
    images.

    Training alternates two optimizers, so Lightning refuses ``accumulate_grad_batches`` and ``gradient_clip_val``
    unless ``train_teacher`` is off; several devices need ``strategy: ddp_find_unused_parameters_true``.

    Args:
        backbone: Teacher: any timm model that supports ``features_only`` with a pyramid of strides that double.
        layers: Names of the stages to distil, as in timm's ``feature_info``; by default those of strides 4, 8 and 16.
        pre_trained: Weights of expert and teacher: ``True`` downloads timm's, ``False`` leaves them random, a path or
            the name of an installed package reads a local file. A resumed training reads the expert's from there again.
        injection: What the student gets of the teacher's features between its stages. ``"guided"``: mixed by how well
            the student matches them, as the paper describes. ``"unguided"``: unmixed, as the authors' released
            script runs, because a flag in it is inverted; their released figures come from this. ``"none"``: nothing,
            as in plain reverse distillation.
        train_teacher: Whether the teacher is taught (the paper). Otherwise it stays the pre-trained network: there is
            no expert, the student has two loss terms in place of four, and a step costs half.
        anomaly_source: Folder of pictures, at any depth, that synthetic anomalies take their texture from, such as the
            Describable Textures Dataset; by default they take it from other images of the batch.
        foreground: Where synthetic anomalies may be: ``"none"`` (everywhere, for textures), or on the object, found by
            ``"otsu"`` or ``"grabcut"``.
        deviation: How far the student is from the teacher at a position. ``"cosine"``: by the angle between their
            features (the papers). ``"mahalanobis"``: by how unusual their difference is there among training images,
            which all go through the model once more before each validation. It suits textures; images must have one
            size, and checkpoints and exports grow by a covariance for each position.
        anomaly_map_mode: ``"add"`` or ``"multiply"`` the scales.
        score: Image score: ``"max"`` or ``"mean"`` of the map, or the mean of a share of its pixels, the highest ones,
            given as a fraction in (0, 1].
        blur_sigma: Standard deviation of the map's Gaussian blur, in pixels of the model's input; 0 for none.
        blur_border: What the blur sees beyond the border, as in ``numpy.pad``: ``"symmetric"`` or ``"reflect"``.
        learning_rate: Adam's learning rate for bottleneck and student.
        teacher_learning_rate: Adam's learning rate for the teacher.
        betas: Adam's decay rates, for both.
        on_bad_data: What to do about images and masks that would spoil the result, such as damaged files: ``"error"``,
            ``"skip"``, ``"warn"`` or ``"off"``; see :class:`~rd_plugin.callbacks.DataCheck`.
        feature_cache: Whether features of training images are computed once and kept, of the frozen
            expert or, if there is none, of the teacher: ``"off"``, ``"memory"``, ``"disk"`` or ``"auto"``; see
            :class:`~rd_plugin.models.components.FeatureCache`.
        feature_cache_bytes: How much memory they may take.
        pre_processor: anomalib's pre-processor, or whether to use the default: resize to 256 x 256 and normalize.
        post_processor: anomalib's post-processor, or whether to use
            :class:`~rd_plugin.post_processor.DistillationPostProcessor`.
        evaluator: anomalib's evaluator, or whether to use :class:`~rd_plugin.evaluator.DistillationEvaluator`.
        visualizer: anomalib's visualizer, or whether to use the default.

    Raises:
        ValueError: If an argument is out of range, the backbone is unknown or a layer does not exist.

    Example:
        >>> model = ExpertReverseDistillation(backbone="resnet18", injection="guided")
        >>> len(model.model.student.injections)
        2
    """

    model: ExpertReverseDistillationModel
    default_max_steps = 5000

    def __init__(
        self,
        backbone: str = "wide_resnet50_2.tv_in1k",
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        injection: InjectionType = "guided",
        train_teacher: bool = True,
        anomaly_source: str | Path | None = None,
        foreground: ForegroundType = "none",
        deviation: DeviationType = "cosine",
        anomaly_map_mode: AnomalyMapMode = "add",
        score: ScoreType = "max",
        blur_sigma: float = 4.0,
        blur_border: BlurBorder = "symmetric",
        learning_rate: float = 0.005,
        teacher_learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        on_bad_data: OnBadData = "error",
        feature_cache: FeatureCacheType = "auto",
        feature_cache_bytes: int = 2 * 2**30,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Plain types, since these become the checkpoint's hyper-parameters; OmegaConf gives lists of its own.
        layers = None if layers is None or isinstance(layers, str) else list(layers)
        betas = (float(betas[0]), float(betas[1]))
        super().__init__(
            learning_rate=learning_rate,
            betas=betas,
            on_bad_data=on_bad_data,
            feature_cache=feature_cache,
            feature_cache_bytes=feature_cache_bytes,
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.teacher_learning_rate = teacher_learning_rate
        self.train_teacher = train_teacher
        self.anomaly_source = anomaly_source
        self.automatic_optimization = not train_teacher
        self.model = ExpertReverseDistillationModel(
            backbone=backbone,
            layers=layers,
            pre_trained=pre_trained,
            injection=injection,
            train_teacher=train_teacher,
            deviation=deviation,
            anomaly_map_mode=anomaly_map_mode,
            score=score,
            blur_sigma=blur_sigma,
            blur_border=blur_border,
        )
        self.twin_generator = TwinGenerator(foreground)
        self.teacher_loss = TeacherLoss()
        self.student_loss = StudentLoss()
        self._textures: Textures | None = None
        # In a tuple, since a module that is an attribute would be saved with the model.
        self._expert: tuple[Teacher] | None = None

    def configure_optimizers(self) -> list[optim.Optimizer]:
        """Return Adam over bottleneck and student and, if it is taught, Adam over the teacher."""
        network = self.model
        student = [*network.bottleneck.parameters(), *network.student.parameters()]
        optimizers = [self.adam(student, self.learning_rate)]
        if self.train_teacher:
            optimizers.append(self.adam(network.teacher.parameters(), self.teacher_learning_rate))
        return optimizers

    def on_fit_start(self) -> None:
        """Read the teacher's weights, call in the expert and look for the textures."""
        super().on_fit_start()
        if self.train_teacher:
            self._expert = (self.model.teacher.expert(),)
        if self.anomaly_source is not None:
            self._textures = Textures(self.anomaly_source, getattr(self.pre_processor, "transform", None))

    @property
    def frozen_network(self) -> Teacher:
        """The expert or, if there is none, the teacher."""
        return self.model.teacher if self._expert is None else self._expert[0]

    def _let_frozen_network_go(self, *_: object) -> None:
        super()._let_frozen_network_go()
        self._expert = None

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Teach the teacher, then let the student learn, on one batch of normal images.

        Args:
            batch: The images.
            *args: Not used.
            **kwargs: Not used.

        Returns:
            ``loss``, the student's; ``images``, ``twins`` and ``masks`` of the synthetic anomalies.
        """
        del args, kwargs
        images = self.model.tiles(cast("Tensor", batch.image))
        twins, masks = self.twin_generator(images, self._textures)
        frozen = self.frozen_features(images, batch)
        if self._expert is None:
            teacher, *students = self.model.distill_twins(images, twins, frozen)
            targets = [teacher]
        else:
            expert = frozen, self._expert[0](twins)
            scales = self.teacher_loss.scales(self.model.teach(images, twins), expert, masks)
            self._teacher_step(self.finish_loss("teacher_loss", scales, batch))
            teacher, *students = self.model.distill_twins(images, twins)
            targets = [teacher, frozen]
        loss = self.finish_loss("student_loss", self.student_loss.scales(targets, students), batch)
        if not self.automatic_optimization:
            self._student_step(loss)
        return {"loss": loss, "images": images, "twins": twins, "masks": masks}

    def _teacher_step(self, loss: Tensor) -> None:
        """Step the teacher's optimizer, without counting the step.

        Lightning counts every optimizer's steps and would end the training after half of ``max_steps``; so this one
        goes to the strategy, which is where Lightning's own wrapper sends it.
        """
        _, optimizer = cast("list[LightningOptimizer]", self.optimizers())
        self.manual_backward(loss)
        self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=lambda: None)
        optimizer.zero_grad()

    def _student_step(self, loss: Tensor) -> None:
        """Step the student's optimizer."""
        optimizer, _ = cast("list[LightningOptimizer]", self.optimizers())
        self.manual_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
