"""Jobs of many items in pieces, over processes and machines: what is finished stays, whatever stops the rest."""

from shared.scale.ledger import Ledger
from shared.scale.run import EngineName, Report, run
from shared.scale.units import Outcome, Step, Unit, Work, digest_of
