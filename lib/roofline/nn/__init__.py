from .module import Module, Parameter
from .containers import ModuleList, Sequential
