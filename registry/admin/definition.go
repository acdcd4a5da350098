package admin

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// definition is how a check gets its status, in Consul's fields.
type definition struct {
	HTTP                           string              `json:",omitempty"`
	Method                         string              `json:",omitempty"`
	Header                         map[string][]string `json:",omitempty"`
	Body                           string              `json:",omitempty"`
	TCP                            string              `json:",omitempty"`
	UDP                            string              `json:",omitempty"`
	GRPC                           string              `json:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty"`
	DNS                            string              `json:",omitempty"`
	TLSServerName                  string              `json:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty"`
	DisableRedirects               bool                `json:",omitempty"`
	TTL                            duration            `json:",omitzero"`
	Interval                       duration            `json:",omitzero"`
	Timeout                        duration            `json:",omitzero"`
	SuccessBeforePassing           int                 `json:",omitempty"`
	FailuresBeforeWarning          int                 `json:",omitempty"`
	FailuresBeforeCritical         int                 `json:",omitempty"`
	DeregisterCriticalServiceAfter duration            `json:",omitzero"`
}

func (d *definition) registry() *registry.Definition {
	return &registry.Definition{
		HTTP: d.HTTP, Method: strings.ToUpper(d.Method), Header: d.Header, Body: d.Body, TCP: d.TCP, UDP: d.UDP,
		GRPC: d.GRPC, GRPCUseTLS: d.GRPCUseTLS, DNS: d.DNS, TLSServerName: d.TLSServerName, TLSSkipVerify: d.TLSSkipVerify,
		DisableRedirects: d.DisableRedirects, TTL: time.Duration(d.TTL), Interval: time.Duration(d.Interval), Timeout: time.Duration(d.Timeout),
		SuccessBeforePassing: d.SuccessBeforePassing, FailuresBeforeWarning: d.FailuresBeforeWarning,
		FailuresBeforeCritical: d.FailuresBeforeCritical, DeregisterCriticalServiceAfter: time.Duration(d.DeregisterCriticalServiceAfter),
	}
}

func newDefinition(d *registry.Definition) definition {
	return definition{
		HTTP: d.HTTP, Method: d.Method, Header: d.Header, Body: d.Body, TCP: d.TCP, UDP: d.UDP,
		GRPC: d.GRPC, GRPCUseTLS: d.GRPCUseTLS, DNS: d.DNS, TLSServerName: d.TLSServerName, TLSSkipVerify: d.TLSSkipVerify,
		DisableRedirects: d.DisableRedirects, TTL: duration(d.TTL), Interval: duration(d.Interval), Timeout: duration(d.Timeout),
		SuccessBeforePassing: d.SuccessBeforePassing, FailuresBeforeWarning: d.FailuresBeforeWarning,
		FailuresBeforeCritical: d.FailuresBeforeCritical, DeregisterCriticalServiceAfter: duration(d.DeregisterCriticalServiceAfter),
	}
}

// checkRequest is a check as the agent's API takes it.
type checkRequest struct {
	definition
	ID, CheckID, Name, Notes, ServiceID string
	Status                              registry.Status
	OutputMaxSize                       int // octets; what is kept of an output is the same for all

	Script, Args, ScriptArgs, Shell, DockerContainerID unsupported
	AliasNode, AliasService, H2PING, OSService         unsupported
	TCPUseTLS, H2PingUseTLS, Namespace, Partition      unsupported
	Token                                              ignored
}

// registry returns the check. The path is where the request has it.
func (c *checkRequest) registry(path string) (registry.Check, error) {
	d := c.definition.registry()
	if d.Kind() == "" {
		return registry.Check{}, badField(path, "needs one of HTTP, TCP, UDP, GRPC, DNS and TTL")
	}
	if n := c.OutputMaxSize; n != 0 && n != maxOutput {
		return registry.Check{}, badField(path+".OutputMaxSize", fmt.Sprintf("is %d, and %d octets of an output are kept: leave it out", n, maxOutput))
	}
	return registry.Check{
		ID: cmp.Or(c.ID, c.CheckID), Name: c.Name, Notes: c.Notes, InstanceID: c.ServiceID,
		Status: c.Status, Type: d.Kind(), Definition: d,
	}, nil
}
