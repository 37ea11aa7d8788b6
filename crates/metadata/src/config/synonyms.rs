//! Which broker settings stand behind a topic setting, with the change of unit.
