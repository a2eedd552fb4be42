"""Statements of the contract as SQL text and parameters, for authors of SQL backends.

A value never enters the text: it is a parameter, always. A name enters it only when it is declared,
legal and quoted. A backend that keeps many tenants in one table names a ``scope`` column, and then no
statement can be rendered without a tenant.
"""

from partywall.sql.dialect import Dialect, quote
from partywall.sql.statements import Rendered, Statements

__all__ = ["Dialect", "Rendered", "Statements", "quote"]
