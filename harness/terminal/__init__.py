"""How text reaches a terminal: legible in any encoding, tables that fit, bars. Only this package imports rich."""
