package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker is the one under attack.
type broker struct {
	bootstrap string
	restart   string
	settings  map[string]string
}

// story is one case: its lines, and what came of them.
type story struct {
	name, title string
	needs       []need
	argued      string // Why another answer than Apache's is right.
	lines       []*told
}

// need is a setting that must be short enough for the case, or `restart`.
type need struct {
	what string
	max  int64
}

// told is one line of the file.
type told struct {
	text     string // All of it, if it is no step.
	step     *step
	expected string
	answer   string
}

func parse(name, text string) (*story, error) {
	it := &story{name: name}
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		broken := func(why any) error { return fmt.Errorf("%s.txt:%d: %v: %s", name, n+1, why, line) }
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# ") && it.title == "":
			it.title = line[2:]
			it.lines = append(it.lines, &told{text: line})
		case len(words) == 0 || strings.HasPrefix(line, "#"):
			it.lines = append(it.lines, &told{text: line})
		case words[0] == "argued":
			it.argued = strings.TrimPrefix(line, "argued ")
			it.lines = append(it.lines, &told{text: line})
		case words[0] == "needs":
			wanted := need{what: words[len(words)-1]}
			if len(words) == 4 && words[2] == "<=" {
				max, err := strconv.ParseInt(words[3], 10, 64)
				if err != nil {
					return nil, broken(err)
				}
				wanted = need{words[1], max}
			}
			it.needs = append(it.needs, wanted)
			it.lines = append(it.lines, &told{text: line})
		default:
			asked, expected, _ := strings.Cut(line, "=>")
			step, err := parseStep(strings.TrimSpace(asked))
			if err != nil {
				return nil, broken(err)
			}
			it.lines = append(it.lines, &told{step: step, expected: strings.TrimSpace(expected)})
		}
	}
	return it, nil
}

func (s *story) nSteps() (n int) {
	for _, line := range s.lines {
		if line.step != nil {
			n++
		}
	}
	return n
}

// lacks says what the broker would need for this case.
func (s *story) lacks(b *broker) string {
	for _, it := range s.needs {
		if it.what == "restart" {
			if b.restart == "" {
				return "needs --restart"
			}
			continue
		}
		value, err := strconv.ParseInt(b.settings[it.what], 10, 64)
		if err != nil {
			return fmt.Sprintf("needs a broker with `%s` of at most %d; it does not tell (--set %s=VALUE does)", it.what, it.max, it.what)
		}
		if value > it.max {
			return fmt.Sprintf("needs a broker with `%s` of at most %d; it is %d", it.what, it.max, value)
		}
	}
	return ""
}

// tell asks all of it, and says where the answers differ from what is written.
func (s *story) tell(b *broker, verbose bool) (differences []string, err error) {
	w := newWorld(b, s.name)
	defer w.cluster.forget()
	for n, line := range s.lines {
		if line.step == nil {
			continue
		}
		if line.answer, err = w.take(line.step); err != nil {
			return nil, fmt.Errorf("line %d, %s: %w", n+1, line.step.text, err)
		}
		if verbose {
			fmt.Fprintf(os.Stderr, "%s:%d: %s => %s\n", s.name, n+1, line.step.text, line.answer)
		}
		if line.answer != line.expected {
			differences = append(differences, fmt.Sprintf("- %s:%d `%s`: Apache Kafka `%s`, here `%s`",
				s.name, n+1, line.step.text, line.expected, line.answer))
		}
	}
	return differences, nil
}

// write puts the answers into the file.
func (s *story) write(path string) error {
	width := 0
	for _, line := range s.lines {
		if line.step != nil {
			width = max(width, len(line.step.text))
		}
	}
	var text strings.Builder
	for _, line := range s.lines {
		if line.step == nil {
			fmt.Fprintln(&text, line.text)
		} else {
			fmt.Fprintf(&text, "%-*s => %s\n", width, line.step.text, line.answer)
		}
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// step is a verb, whom and what it is about, and options NAME=VALUE.
type step struct {
	text    string
	verb    verb
	words   []string
	options map[string]string
	used    map[string]bool
}

func parseStep(text string) (*step, error) {
	words := strings.Fields(text)
	it := &step{text: strings.Join(words, " "), options: map[string]string{}}
	known := false
	if it.verb, known = verbs[words[0]]; !known {
		return nil, errors.New("no such verb")
	}
	for _, word := range words[1:] {
		if name, value, isOption := strings.Cut(word, "="); isOption {
			it.options[name] = value
		} else {
			it.words = append(it.words, word)
		}
	}
	return it, nil
}

func (s *step) word(n int) string {
	if n < len(s.words) {
		return s.words[n]
	}
	return ""
}

// has: a word behind those that every such step has.
func (s *step) has(word string) bool {
	for _, it := range s.words {
		if it == word {
			return true
		}
	}
	return false
}

func (s *step) option(name, otherwise string) string {
	if value, found := s.options[name]; found {
		s.used[name] = true
		return value
	}
	return otherwise
}

func (s *step) number(name string, otherwise int64) int64 {
	value, err := strconv.ParseInt(s.option(name, strconv.FormatInt(otherwise, 10)), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s: %s is no number", s.text, name))
	}
	return value
}

// verb does a step once and says what was answered; code is the error that may make it wait and ask again.
type verb func(*world, *step) (answer string, code int16, err error)

var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		"init": initProducer, "add": addPartitions, "offsets": addOffsets, "commit-offsets": commitOffsets, "produce": produce,
		"commit": commit, "abort": abort, "marker": writeMarker, "wear": wear,
		"state": state, "until": untilState, "list": list, "producers": describeProducers, "ends": ends, "read": readCommitted,
		"log": readLog, "aborted": abortedTransactions, "offset": fetchOffset,
		"topic": createTopic, "delete-topic": deleteTopic, "delete-records": deleteRecords, "restart": restartBroker,
		"feature": setFeature, "config": setConfig, "wait": wait, "join": joinGroup,
	}
}

const (
	// How long a broker may need until it can answer.
	patience = 60 * time.Second
	// How long the end of a transaction may be under way; what takes longer is the answer.
	endsWithin = 5 * time.Second
	pause      = 20 * time.Millisecond

	leaderNotAvailable     = int16(5)
	notLeader              = int16(6)
	coordinatorLoading     = int16(14)
	coordinatorUnavailable = int16(15)
	notCoordinator         = int16(16)
	notEnoughReplicas      = int16(19) // What a producer of the old protocol is told when its coordinator cannot be asked.
	concurrent             = int16(51)
)

// world is what a story has come to.
type world struct {
	broker    *broker
	cluster   *cluster
	prefix    string
	producers map[string]*producer
	members   map[string]*member
	labels    map[int64]string // Of producer ids, in the order in which they were granted.
	strangers map[int32]bool   // Epochs of coordinators that the story has made up.
}

// producer is who asks, by the name that the story gives.
type producer struct {
	transactionalID string // As the broker knows it.
	isTransactional bool
	id              int64
	epoch           int16
}

type member struct {
	id         string
	instance   *string
	generation int32
}

// place is a partition, under the broker's name of the topic.
type place struct {
	topic     string
	partition int32
}

// newWorld: what a story makes has names that no other run has used.
func newWorld(b *broker, name string) *world {
	prefix := fmt.Sprintf("attack-%x-%s-", time.Now().UnixMicro(), name)
	return &world{broker: b, cluster: newCluster(b.bootstrap), prefix: prefix,
		producers: map[string]*producer{}, members: map[string]*member{}, labels: map[int64]string{},
		strangers: map[int32]bool{-1: true}}
}

// take does a step until its answer is one. A coordinator that is being loaded, or is busy with the end of a transaction, is asked
// again; with `once` the latter is an answer.
func (w *world) take(it *step) (string, error) {
	began := time.Now()
	for {
		it.used = map[string]bool{}
		answer, code, err := it.verb(w, it)
		if errors.Is(err, errHungUp) {
			return errHungUp.Error(), nil
		}
		if err != nil {
			return "", err
		}
		for name := range it.options {
			if !it.used[name] {
				return "", fmt.Errorf("nothing is done with %s", name)
			}
		}
		waits := time.Duration(0)
		switch code {
		case leaderNotAvailable, notLeader, coordinatorLoading, coordinatorUnavailable, notCoordinator:
			waits = patience
			clear(w.cluster.routes)
		case concurrent, notEnoughReplicas:
			if !it.has("once") {
				waits = endsWithin
			}
		}
		if time.Since(began) >= waits {
			return answer, nil
		}
		time.Sleep(pause)
	}
}

// id is the broker's name for an id, group or topic of the story; `none` is the empty one.
func (w *world) id(name string) string {
	if name == "none" {
		return ""
	}
	return w.prefix + name
}

// short is the story's name again.
func (w *world) short(name string) string { return strings.TrimPrefix(name, w.prefix) }

// label is how a producer id is shown.
func (w *world) label(id int64) string {
	if label, known := w.labels[id]; known {
		return label
	}
	return strconv.FormatInt(id, 10)
}

// granted gives a producer id a label, if it has none.
func (w *world) granted(id int64, epoch int16) string {
	if _, known := w.labels[id]; !known {
		w.labels[id] = fmt.Sprintf("P%d", len(w.labels)+1)
	}
	return w.who(id, epoch)
}

func (w *world) who(id int64, epoch int16) string { return fmt.Sprintf("%s/%d", w.label(id), epoch) }

// as is the producer that a step names, with what its options put in place: pid=NAME or a number, epoch=, id=.
func (w *world) as(s *step) (producer, error) {
	known := w.producers[s.word(0)]
	if known == nil {
		return producer{}, fmt.Errorf("nobody is called %q", s.word(0))
	}
	it := *known
	if other := s.option("pid", ""); other != "" {
		if known := w.producers[other]; known != nil {
			it.id = known.id
		} else if number, err := strconv.ParseInt(other, 10, 64); err == nil {
			it.id = number
		} else {
			return it, fmt.Errorf("nobody is called %q", other)
		}
	}
	it.epoch = int16(s.number("epoch", int64(it.epoch)))
	if id := s.option("id", ""); id != "" {
		it.transactionalID, it.isTransactional = w.id(id), true
	}
	return it, nil
}

// places reads t-0,t-1.
func (w *world) places(text string) (all []place, err error) {
	for _, word := range strings.Split(text, ",") {
		at := strings.LastIndex(word, "-")
		if at < 0 {
			return nil, fmt.Errorf("%q is no partition", word)
		}
		partition, err := strconv.ParseInt(word[at+1:], 10, 32)
		if err != nil {
			return nil, err
		}
		all = append(all, place{w.id(word[:at]), int32(partition)})
	}
	return all, nil
}

func (w *world) place(text string) (place, error) {
	all, err := w.places(text)
	if err != nil {
		return place{}, err
	}
	return all[0], nil
}

// answered makes an answer what it must be: a broker that answers something else is an error of this program.
func answered[R kmsg.Response](response kmsg.Response, err error) (R, error) {
	var none R
	if err != nil {
		return none, err
	}
	it, fits := response.(R)
	if !fits {
		return none, fmt.Errorf("an answer to something else: %T", response)
	}
	return it, nil
}
