package registry

import "strings"

// Instance is one running copy of a service. An Instance in a View is never
// modified; a change puts another in its place.
type Instance struct {
	Node              string // the name of the node it runs on
	ID                string // unique on its node
	Service           string // the service's name, in the case it was registered in
	Tags              []string
	Address           string // an IP address or a host name; empty: its node's address
	TaggedAddresses   map[string]TaggedAddress
	Port              int    // 0: none; of several, the default one's
	Ports             []Port // where it has several; one of them is Port
	Meta              map[string]string
	Weights           Weights
	EnableTagOverride bool
	status            Status   // in a View: the worst of Checks, so that nobody has to look at them
	Checks            []*Check // its own checks, by ID
	CreateIndex       uint64
	ModifyIndex       uint64
}

// Port is one of several ports of an instance, and its name, which is a label.
type Port struct {
	Name    string
	Port    int
	Default bool // it is the instance's Port
}

// PortNamed returns the number of the port of that name, in any case; 0: there is
// none.
func (i *Instance) PortNamed(name string) int {
	for _, p := range i.Ports {
		if strings.EqualFold(p.Name, name) {
			return p.Port
		}
	}
	return 0
}

// TaggedAddress is a further address of an instance. The tags that rollcall
// acts on are lan_ipv4 and lan_ipv6; the others are kept and shown.
type TaggedAddress struct {
	Address string
	Port    int
}

// Weights are an instance's shares of its service's clients, relative to the
// other instances' and depending on its Status. In a View neither is zero
// unless it was registered so.
type Weights struct {
	Passing int
	Warning int
}

// At returns the weight at a status: none when critical.
func (w Weights) At(s Status) int {
	switch s {
	case Passing:
		return w.Passing
	case Warning:
		return w.Warning
	}
	return 0
}

// HasTag tells whether the instance bears the tag, in any case.
func (i *Instance) HasTag(tag string) bool {
	for _, t := range i.Tags {
		if strings.EqualFold(t, tag) {
			return true
		}
	}
	return false
}

// InMaintenance tells whether the instance was taken out by an operator.
func (i *Instance) InMaintenance() bool {
	for _, c := range i.Checks {
		if strings.HasPrefix(c.ID, ServiceMaintenancePrefix) {
			return true
		}
	}
	return false
}
