package registry

// Node is a machine that instances run on. A Node in a View is never modified.
type Node struct {
	Name            string // dot-separated labels; unique in any case
	ID              string // a UUID, or empty
	Address         string // an IP address or a host name
	TaggedAddresses map[string]string
	Meta            map[string]string
	Checks          []*Check // the node's own checks, by ID; they count for all that runs on it
	CreateIndex     uint64
	ModifyIndex     uint64
}

// Status returns the worst of the node's own checks, or Passing without any.
func (n *Node) Status() Status {
	if n == nil {
		return Passing
	}
	return worstOf(n.Checks)
}

func worstOf(checks []*Check) Status {
	worst := Passing
	for _, c := range checks {
		worst = Worst(worst, c.Status)
	}
	return worst
}

// NodeMaintenance is the ID of Consul's check of a node that an operator has taken
// out.
const NodeMaintenance = "_node_maintenance"

// InMaintenance tells whether the node, which may be nil, was taken out by an
// operator.
func (n *Node) InMaintenance() bool { return n.Maintenance() != nil }

// Maintenance returns the check that takes the node out; nil: there is none, or no
// node.
func (n *Node) Maintenance() *Check {
	if n == nil {
		return nil
	}
	for _, c := range n.Checks {
		if c.ID == NodeMaintenance {
			return c
		}
	}
	return nil
}
