"""What the toolkit itself gave at one time, frozen: cases by name, each of which computes a few small arrays.

A change that only moves code leaves all of them as they are. Weights and saved files come from `saved/`, inputs from
their names. Only public names are imported, where there is one.
"""

from tests.golden.product.case import CASES as CASES
from tests.golden.product.case import FILE as FILE
from tests.golden.product.case import SAVED as SAVED
from tests.golden.product.case import Case as Case
