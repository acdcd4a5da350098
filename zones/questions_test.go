package zones

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

// testdata/questions.txt holds the question of every golden answer, NAME TYPE on
// a line, for the tests of other packages: package dnsserver asks them of all its
// transports. go test ./zones -update adds those that are missing.
const questionsFile = "testdata/questions.txt"

var update = flag.Bool("update", false, "add missing questions to "+questionsFile)

// asked holds a golden answer's question to be in the file.
func asked(t *testing.T, ask string) {
	t.Helper()
	content, err := os.ReadFile(questionsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	questions := strings.Split(strings.TrimSpace(string(content)), "\n")
	if slices.Contains(questions, ask) {
		return
	}
	if !*update {
		t.Fatalf("%q is not in %s: go test ./zones -update", ask, questionsFile)
	}
	questions = append(questions, ask)
	slices.Sort(questions)
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(questionsFile, []byte(strings.TrimSpace(strings.Join(questions, "\n"))+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
