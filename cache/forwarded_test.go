package cache

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// answered returns an upstream's answer about a host, with a TTL in seconds, and
// its key.
func answered(t *testing.T, n int, ttl uint32) (f *Forwarded, key []byte) {
	t.Helper()
	name := fmt.Sprintf("h%d.example.", n)
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.IPv4(192, 0, 2, 1)}}
	wire := make([]byte, 255)
	end, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	key = append(wire[:end:end], 0, byte(dns.TypeA), 0)
	if f, err = NewForwarded(key, m, time.Now()); err != nil {
		t.Fatal(err)
	}
	return f, key
}

func TestAForwardedAnswerIsKeptADayBeyondItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewForwardedCache(1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f, key := answered(t, 1, 60)
		c.Put(f)
		c.Wait()
		came := time.Now()
		for age, want := range map[time.Duration]bool{0: true, time.Minute: true, 24*time.Hour + 59*time.Second: true, 24*time.Hour + time.Minute: false} {
			got := c.Get(key, came.Add(age))
			t.Logf("with a TTL of a minute, after %v it is there: %v", age, got != nil)
			if (got != nil) != want {
				t.Errorf("after %v it is there: %v", age, got != nil)
			}
		}
	})
}

func TestAForwardedAnswerThatIsCutShortSaysSoAndIsNotKept(t *testing.T) {
	c, err := NewForwardedCache(1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := new(dns.Msg).SetQuestion("h1.example.", dns.TypeA)
	m.Truncated = true
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "h1.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
	_, key := answered(t, 1, 60)
	now := time.Now()
	f, err := NewForwarded(key, m, now)
	if err != nil {
		t.Fatal(err)
	}
	c.Put(f)
	c.Wait()
	if f.Fresh(now) || c.Get(key, now) != nil {
		t.Error("it is kept")
	}
	message := append(append(make([]byte, headerSize), key[:len(key)-1]...), 0, 1)
	reply, truncated := f.Append(nil, &Query{Message: message, End: len(message), Limit: 512}, now)
	var got dns.Msg
	if err := got.Unpack(reply); err != nil || !truncated || !got.Truncated || len(got.Answer) != 1 || got.Answer[0].Header().Ttl != 60 {
		t.Errorf("the reply is %v, %v", &got, err)
	}
}

// TestAnswersThatAreReplacedLeaveNothing has the same answers come again and again,
// as those with short TTLs do, for an hour.
func TestAnswersThatAreReplacedLeaveNothing(t *testing.T) {
	const answers, rounds = 500, 720
	synctest.Test(t, func(t *testing.T) {
		c, err := NewForwardedCache(8<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var first int64
		for round := range rounds {
			for n := range answers {
				f, _ := answered(t, n, 1)
				c.Put(f)
			}
			c.Wait()
			time.Sleep(5 * time.Second)
			if round == 10 {
				first = inUse()
			}
		}
		grown := inUse() - first
		t.Logf("%d KiB more are in use after %d answers came %d times", grown>>10, answers, rounds)
		if grown > 2<<20 {
			t.Errorf("%d KiB more are in use", grown>>10)
		}
	})
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
