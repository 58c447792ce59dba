"""Panels: paired responses of people and twins, with identifiers, or as arrays alone."""

from .arrays import PanelArrays as PanelArrays
from .arrays import Responses as Responses
from .panel import DROPPED as DROPPED
from .panel import Panel as Panel
