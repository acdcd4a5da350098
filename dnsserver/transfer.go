package dnsserver

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// isTransfer tells whether a type asks for a zone.
func isTransfer(qtype uint16) bool { return qtype == dns.TypeAXFR || qtype == dns.TypeIXFR }

// sign signs a reply, which begins at an offset, to a query that was signed:
// whatever it asks for, as secondaries sign all that they ask.
func (p *pipeline) sign(q *query, reply []byte, start int) []byte {
	signed, err := q.signer.Sign(reply[start:])
	if err != nil {
		p.logger.Error("a reply could not be signed", "err", err)
		return reply
	}
	return append(reply[:start], signed...)
}

// asksForZone tells whether a message asks for a transfer, which is more than one
// message long, and for this connection to answer.
func (w *worker) asksForZone(msg []byte) bool {
	q := &w.queries[0]
	return w.transfers != nil && len(msg) >= headerSize && msg[2]&0x80 == 0 && q.read(msg) &&
		q.opcode() == dns.OpcodeQuery && q.class == dns.ClassINET && q.version == 0 && isTransfer(q.qtype)
}

// streamTransfer is how long a message of a transfer may take, as a secondary may
// have to think about those before it.
const streamTransfer = 10 * time.Second

// transfer answers a request for a zone.
func (c *connection) transfer(w *worker, query []byte) (err error) {
	c.answers(1)
	defer c.answers(-1)
	defer w.publish()
	defer func() {
		if fault := recover(); fault != nil {
			w.panics.Add(1)
			w.faults.add(time.Now())
			w.logger.Error("a transfer ended in a panic", "query", fmt.Sprintf("%x", query[:min(len(query), 512)]), "panic", fmt.Sprint(fault))
			err = errPanic
		}
	}()
	w.request(&w.queries[0], c.peer.Addr())
	err = w.transfers.Serve(query, c.peer.Addr(), func(message []byte) error {
		if c.all.ends() { // it could take long, and a secondary comes again
			return net.ErrClosed
		}
		w.responses[message[3]&0xf].Add(1)
		return c.send(append(make([]byte, 2, 2+len(message)), message...), streamTransfer)
	})
	if err != nil {
		w.errors[errorWrite].Add(1)
	}
	return err
}

// errPanic is why a connection ends in the middle of a transfer.
var errPanic = errors.New("the transfer ended in a panic")

// ends tells whether the connections are to end.
func (cs *connections) ends() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return !cs.end.IsZero()
}
