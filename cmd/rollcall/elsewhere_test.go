package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// found waits until a question is answered with records, and returns them.
func found(t *testing.T, s *server, name string, qtype uint16) (reply *dns.Msg) {
	t.Helper()
	consultest.Eventually(t, 20*time.Second, name+" is found", func() bool {
		reply = question(t, s, name, qtype)
		return len(reply.Answer) > 0
	})
	return reply
}

func TestPreparedQueries(t *testing.T) {
	agent := consultest.Start(t, "")
	agent.Service("web", 80, "passing")
	agent.Service("db", 5432, "passing")
	query := &api.PreparedQueryDefinition{Name: "some.Query", Service: api.ServiceQuery{Service: "web", OnlyPassing: true}}
	id, _, err := agent.API.PreparedQuery().Create(query, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := runningInFront(t, agent, nil)

	srv := found(t, s, "SOME.query.query.consul.", dns.TypeSRV)
	if record := srv.Answer[0].(*dns.SRV); record.Port != 80 || record.Target != "n1.node.dc1.consul." || len(srv.Extra) != 2 {
		t.Errorf("the query finds\n%v", srv)
	}
	found(t, s, "some.query.query.consul.", dns.TypeA)
	for name, rcode := range map[string]int{
		"query.query.consul.": dns.RcodeSuccess, "query.consul.": dns.RcodeSuccess, "other.query.consul.": dns.RcodeNameError,
	} {
		if reply := question(t, s, name, dns.TypeA); reply.Rcode != rcode || len(reply.Answer) != 0 {
			t.Errorf("%s:\n%v", name, reply)
		}
	}

	agent.Set("web", "critical")
	consultest.Eventually(t, 10*time.Second, "the query finds nothing", func() bool {
		reply := question(t, s, "some.query.query.consul.", dns.TypeSRV)
		return reply.Rcode == dns.RcodeSuccess && len(reply.Answer) == 0
	})
	query.ID, query.Service.Service = id, "db"
	if _, err := agent.API.PreparedQuery().Update(query, nil); err != nil {
		t.Fatal(err)
	}
	srv = found(t, s, "some.query.query.consul.", dns.TypeSRV)
	if srv.Answer[0].(*dns.SRV).Port != 5432 {
		t.Errorf("the query finds\n%v", srv)
	}
	if _, err := agent.API.PreparedQuery().Delete(id, nil); err != nil {
		t.Fatal(err)
	}
	consultest.Eventually(t, 15*time.Second, "the query is gone", func() bool {
		return question(t, s, "some.query.query.consul.", dns.TypeSRV).Rcode == dns.RcodeNameError
	})
}

func TestOtherDatacenters(t *testing.T) {
	here := consultest.Start(t, "")
	there := consultest.Start(t, `datacenter = "dc2"  retry_join_wan = ["`+here.WAN()+`"]  retry_interval_wan = "1s"`)
	there.Service("far", 80, "passing")
	consultest.Eventually(t, 30*time.Second, "the datacenters know each other", func() bool {
		_, _, err := here.API.Catalog().Services(&api.QueryOptions{Datacenter: "dc2"})
		return err == nil
	})
	s := runningInFront(t, here, nil)
	consultest.Eventually(t, 10*time.Second, "dc2 is known", func() bool {
		return question(t, s, "dc2.consul.", dns.TypeA).Rcode == dns.RcodeSuccess
	})
	first := question(t, s, "far.service.dc2.consul.", dns.TypeSRV)
	if first.Rcode != dns.RcodeServerFailure || !strings.Contains(first.String(), "nobody has asked for the datacenter dc2 before") {
		t.Errorf("the first question is answered\n%v", first)
	}
	srv := found(t, s, "far.service.dc2.consul.", dns.TypeSRV)
	target := srv.Answer[0].(*dns.SRV).Target
	if target != "n1.node.dc2.consul." || len(srv.Extra) != 2 {
		t.Errorf("the service is found at\n%v", srv)
	}
	if reply := question(t, s, target, dns.TypeA); len(reply.Answer) != 1 {
		t.Errorf("the target is\n%v", reply)
	}
	for name, rcode := range map[string]int{
		"far.service.consul.": dns.RcodeNameError, "near.service.dc2.consul.": dns.RcodeNameError,
		"far.service.dc3.consul.": dns.RcodeNameError, "service.dc2.consul.": dns.RcodeSuccess,
	} {
		if reply := question(t, s, name, dns.TypeA); reply.Rcode != rcode {
			t.Errorf("%s:\n%v", name, reply)
		}
	}
	there.Set("far", "critical")
	consultest.Eventually(t, 10*time.Second, "its check is seen from here", func() bool {
		reply := question(t, s, "far.service.dc2.consul.", dns.TypeSRV)
		return reply.Rcode == dns.RcodeSuccess && len(reply.Answer) == 0
	})
}
