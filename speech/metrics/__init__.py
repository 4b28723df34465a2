"""Scores of enhanced speech: one number a metric, NaN with a reason where there is none; and of whole folders."""

from speech.metrics.alignment import advanced, delay
from speech.metrics.checks import UnscorableError, UnscorableWarning
from speech.metrics.energy import si_sar, si_sdr, si_sir
from speech.metrics.evaluation import evaluate, failures, summarise
from speech.metrics.loizou import Composite, cbak, composite, covl, csig
from speech.metrics.measures import DEFAULT_METRICS, METRICS, WITHOUT_REFERENCE, Metric, Score, chosen_metrics, score
from speech.metrics.opinion import DNSMOS, dnsmos
from speech.metrics.perceptual import estoi, pesq_nb, pesq_wb, stoi
from speech.metrics.report import plot_scores, write_report
from speech.metrics.spectral import lsd
