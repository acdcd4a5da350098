package registry

// Elsewhere is what lies beyond a View: other datacenters, and prepared queries,
// whose results are found nowhere but with who executes them. Each is a View of its
// own, kept fresh from when it was first asked for. Only a registry in front of a
// cluster has any. The methods never wait, and may be called from any goroutine.
type Elsewhere interface {
	// Datacenter returns the newest View of another datacenter; nil while nothing is
	// known of it yet. ok is false where there is none of that name, which is in
	// lower case.
	Datacenter(name string) (v *View, ok bool)
	// Query returns the newest result of a prepared query: a View with a service of
	// the query's name. The rest is as above.
	Query(name string) (v *View, ok bool)
	// HasQueryBelow tells whether some query's name ends in a dot and suffix.
	HasQueryBelow(suffix string) bool
}

// Elsewhere returns what lies beyond the View; nil: nothing.
func (v *View) Elsewhere() Elsewhere { return v.elsewhere }

// Beside returns the View with something beyond it, as all Views will have that
// are made from it.
func (v *View) Beside(e Elsewhere) *View {
	next := *v
	next.elsewhere = e
	return &next
}
