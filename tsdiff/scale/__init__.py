"""Series by the million: forecasts, filled gaps and anomaly scores of partitioned Parquet, on Ray or here."""

from shared.scale import Report
from tsdiff.data.known import Names
from tsdiff.scale.calls import anomaly, forecast, impute
