"""Ready callbacks, for the parameter `callbacks` of the estimators."""

from estimators.callbacks.checkpoint import Checkpoint
from estimators.callbacks.csv_logger import CSVLogger
from estimators.callbacks.early_stopping import EarlyStopping
from estimators.callbacks.learning_rate_logger import LearningRateLogger
from estimators.callbacks.progress_bar import ProgressBar
from estimators.callbacks.tensorboard import TensorBoard
from estimators.shared.callbacks import EpochInfo

__all__ = [
    "CSVLogger",
    "Checkpoint",
    "EarlyStopping",
    "EpochInfo",
    "LearningRateLogger",
    "ProgressBar",
    "TensorBoard",
]
