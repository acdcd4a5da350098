package registry

import "testing"

func TestAStampKnowsThatItWasUsed(t *testing.T) {
	s := new(Stamp)
	if s.Used() {
		t.Error("a new Stamp was used")
	}
	s.Use()
	s.Use()
	if !s.Used() {
		t.Error("Use was not noted")
	}
	if s.Used() {
		t.Error("Used tells of the same use twice")
	}
	if n := testing.AllocsPerRun(100, s.Use); n != 0 {
		t.Errorf("Use allocates %v times", n)
	}
	(*Stamp)(nil).Use() // what is always true is always fresh, too
	if (*Stamp)(nil).Used() {
		t.Error("no Stamp was used")
	}
}
