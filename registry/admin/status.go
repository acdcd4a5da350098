package admin

import (
	"fmt"
	"net/http"
)

// statusLeader names the leader in Consul's form: rollcall is its own.
func (s *Server) statusLeader(w http.ResponseWriter, r *http.Request) error {
	return reply(w, r, s.peer())
}

func (s *Server) statusPeers(w http.ResponseWriter, r *http.Request) error {
	return reply(w, r, []string{s.peer()})
}

func (s *Server) peer() string {
	const port = 8300 // of Consul's servers; nothing listens there
	return fmt.Sprintf("%s:%d", s.member()["Addr"], port)
}
