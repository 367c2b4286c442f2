# SPDX-License-Identifier: Apache-2.0
"""RD with Expert in anomalib's engine (Liu, Wang, Leng and Zhang, AAAI 2025)."""

from pathlib import Path
from typing import Any, cast

from anomalib.data import ImageBatch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, optim
from torch.optim.lr_scheduler import LRScheduler

from rd_plugin.components import Teacher
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.distillation.token_training import GRADIENT_NORM, token_optimizer
from rd_plugin.synthetic import ForegroundType, Textures, TwinGenerator

from .injection import InjectionType
from .loss import StudentLoss, TeacherLoss
from .torch_model import ExpertReverseDistillationModel

__all__ = ["ExpertReverseDistillation"]


class ExpertReverseDistillation(Distillation):
    """RD with Expert: reverse distillation with a teacher trained by an expert, and teacher features for the student.

    Each training image gets a twin with synthetic anomalies. A frozen expert, the pre-trained network, trains the
    teacher, which starts as the same network, to keep its features on normal regions and to change them on anomalies.
    On the same batch the student then learns to reconstruct the normal features from the teacher's features of the
    image or of its twin. Inference needs only teacher and student, and the anomaly map is that of
    :class:`~rd_plugin.models.reverse_distillation.ReverseDistillation`.

    The weights after the last step are kept; the authors' script keeps those of the epoch that is best on the test
    images.

    With a plain ViT as the teacher, bottleneck and student are those of Dinomaly, and so are their optimizer, its
    schedule and the clipped gradients; there is no injection, since a ViT has no finer scale. This is the package's own
    combination; no figures are published.

    Training alternates two optimizers, so Lightning refuses ``accumulate_grad_batches`` and ``gradient_clip_val``
    unless ``train_teacher`` is off; several devices need ``strategy: ddp_find_unused_parameters_true``.

    Args:
        *network: ``backbone``, ``layers`` and ``pre_trained`` may be given by position; the weights are those of
            expert and teacher, and a resumed training reads the expert's from there again.
        injection: Which of the teacher's features the student gets between its stages. ``"guided"``: weighted by their
            similarity to the student's, as in the paper. ``"unguided"``: without weights, as in the authors' released
            script, in which a flag is inverted; their published figures come from this. ``"none"``: none, as in plain
            reverse distillation. By default ``"guided"``, and for a ViT ``"none"``.
        train_teacher: Whether the teacher is trained (the paper). Otherwise it stays the pre-trained network: there is
            no expert, the student has two loss terms instead of four, and a step costs half.
        anomaly_source: Folder of pictures, at any depth, for the texture of synthetic anomalies, such as the
            Describable Textures Dataset; by default other images of the batch are used.
        foreground: Where synthetic anomalies may be: ``"none"`` (everywhere, for textures), or on the object, found by
            ``"otsu"`` or ``"grabcut"``.
        teacher_learning_rate: Adam's learning rate for the teacher.
        dropout: For a ViT: probability of dropout in the bottleneck.
        student_depth: For a ViT: number of the student's blocks.
        **arguments: All other arguments of :class:`~rd_plugin.models.distillation.Distillation`. The feature cache
            keeps features of the frozen expert or, without an expert, of the teacher.

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
        *network: Any,
        injection: InjectionType | None = None,
        train_teacher: bool = True,
        anomaly_source: str | Path | None = None,
        foreground: ForegroundType = "none",
        teacher_learning_rate: float = 1e-4,
        dropout: float = 0.2,
        student_depth: int = 8,
        **arguments: Any,
    ) -> None:
        super().__init__(*network, **arguments)
        self.teacher_learning_rate = teacher_learning_rate
        self.train_teacher = train_teacher
        self.anomaly_source = anomaly_source
        self.automatic_optimization = not train_teacher
        self.model = ExpertReverseDistillationModel(
            injection=injection,
            train_teacher=train_teacher,
            dropout=dropout,
            student_depth=student_depth,
            **self.network_arguments,
        )
        self.hparams.update(injection=self.model.injection)
        self.twin_generator = TwinGenerator(foreground)
        self.teacher_loss = TeacherLoss()
        self.student_loss = StudentLoss()
        self._textures: Textures | None = None
        # In a tuple, since a module as an attribute would be saved with the model.
        self._expert: tuple[Teacher] | None = None

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam over bottleneck and student and, if the teacher is trained, Adam over the teacher.

        For a ViT that of bottleneck and student is StableAdamW, with a schedule.
        """
        network = self.model
        trained = [*network.bottleneck.parameters(), *network.student.parameters()]
        optimizers: list[optim.Optimizer]
        schedules: list[Any] = []
        if self.is_vit:
            groups = [{"params": trained, "lr": self.learning_rate}]
            optimizer, schedule = token_optimizer(groups, self.betas, int(self.steps))
            optimizers, schedules = [optimizer], [{"scheduler": schedule, "interval": "step"}]
        else:
            optimizers = [self.adam(trained, self.learning_rate)]
        if self.train_teacher:
            optimizers.append(self.adam(network.teacher.parameters(), self.teacher_learning_rate))
        return optimizers, schedules

    def on_fit_start(self) -> None:
        """Read the teacher's weights, build the expert and find the textures."""
        super().on_fit_start()
        if self.train_teacher:
            self._expert = (self.model.teacher.expert(),)
        if self.anomaly_source is not None:
            self._textures = Textures(self.anomaly_source, getattr(self.pre_processor, "transform", None))

    @property
    def frozen_network(self) -> Teacher:
        """The expert or, without an expert, the teacher."""
        return self.model.teacher if self._expert is None else self._expert[0]

    def _let_frozen_network_go(self, *_: object) -> None:
        super()._let_frozen_network_go()
        self._expert = None

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Train the teacher, then the student, on one batch of normal images.

        Returns:
            ``loss``, the student's; ``images``, ``twins`` and ``masks`` of the synthetic anomalies.
        """
        del args, kwargs
        images = self.model.network_inputs(cast("Tensor", batch.image))
        twins, masks = self.model.twins_within_roi(images, *self.twin_generator(images, self._textures))
        frozen = self.frozen_features(images, batch)
        if self._expert is None:
            teacher, *students = self.model.distill_twins(images, twins, frozen)
            targets = [teacher]
        else:
            inside = self.model.targets_within_roi
            expert = inside(frozen), inside(self._expert[0](twins))
            scales = self.teacher_loss.scales(self.model.teach(images, twins), expert, masks)
            self._teacher_step(self.total_loss("teacher_loss", scales, batch))
            teacher, *students = self.model.distill_twins(images, twins)
            targets = [teacher, expert[0]]
        loss = self.total_loss("student_loss", self.student_loss.scales(targets, students), batch)
        if not self.automatic_optimization:
            self._student_step(loss)
        return {"loss": loss, "images": images, "twins": twins, "masks": masks}

    def _teacher_step(self, loss: Tensor) -> None:
        """Step the teacher's optimizer, without counting the step.

        Lightning counts every optimizer's steps and would end the training after half of ``max_steps``. So this method
        calls the strategy directly, as Lightning's own wrapper does.
        """
        _, optimizer = cast("list[LightningOptimizer]", self.optimizers())
        self.manual_backward(loss)
        self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=lambda: None)
        optimizer.zero_grad()

    def _student_step(self, loss: Tensor) -> None:
        """Step the student's optimizer."""
        optimizer, _ = cast("list[LightningOptimizer]", self.optimizers())
        self.manual_backward(loss)
        if self.is_vit:
            self.clip_gradients(optimizer.optimizer, GRADIENT_NORM, "norm")
        optimizer.step()
        optimizer.zero_grad()
        if self.is_vit:
            cast("LRScheduler", self.lr_schedulers()).step()
