// Package tests holds what a cluster is given against the libraries of the programs that will read it: Argo CD's Lua,
// Flux's CEL, kstatus, and PromQL.
package tests

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// What each tool should say of an object.
type verdict struct{ argo, flux, kstatus string }

var (
	healthy    = verdict{"Healthy", "Current", "Current"}
	onItsWay   = verdict{"Progressing", "InProgress", "InProgress"}
	needsHelp  = verdict{"Degraded", "Failed", "Failed"}
	suspended  = verdict{"Suspended", "Current", "Current"}
	mayHealNow = verdict{"Degraded", "InProgress", "InProgress"}
)

// The snapshots of the operator's own tests, and the verdict about each state in them.
var kinds = map[string]struct {
	snapshot string
	states   map[string]verdict
}{
	"StreamingJob": {
		"operator/src/streaming_job/status/snapshots/sluice_operator__streaming_job__status__tests__gitops.snap",
		map[string]verdict{
			"running":               healthy,
			"starting":              onItsWay,
			"checking":              onItsWay,
			"draining":              onItsWay,
			"scaling":               onItsWay,
			"suspended":             suspended,
			"idle":                  healthy,
			"completed":             healthy,
			"reference-not-found":   onItsWay,
			"transform-invalid":     needsHelp,
			"name-conflict":         needsHelp,
			"unschedulable":         onItsWay,
			"source-unavailable":    mayHealNow,
			"authentication-failed": needsHelp,
			"crashing":              mayHealNow,
			"offset-out-of-range":   needsHelp,
			"dead-letters":          healthy,
		},
	},
	"Connection": {
		"operator/src/snapshots/sluice_operator__connection__tests__gitops.snap",
		map[string]verdict{
			"untested":              onItsWay,
			"connected":             healthy,
			"secret-not-found":      onItsWay,
			"unreachable":           mayHealNow,
			"authentication-failed": needsHelp,
		},
	},
	"DataCatalogTable": {
		"operator/src/snapshots/sluice_operator__data_catalog_table__tests__gitops.snap",
		map[string]verdict{
			"usable":                     healthy,
			"reference-not-found":        onItsWay,
			"connection-of-another-kind": mayHealNow,
		},
	},
}

type judges struct {
	argo string
	flux fluxChecks
}

func (judges *judges) of(t *testing.T, object map[string]any) verdict {
	t.Helper()
	return verdict{argoHealth(t, judges.argo, object), judges.flux.health(t, object), kstatus(t, object)}
}

func TestEveryStateThatTheOperatorTellsIsJudged(t *testing.T) {
	for kind, it := range kinds {
		states := snapshot(t, it.snapshot)
		told, judged := slices.Sorted(maps.Keys(states)), slices.Sorted(maps.Keys(it.states))
		if !slices.Equal(told, judged) {
			t.Errorf("%s: the operator tells %v, and this test knows %v", kind, told, judged)
		}
		judges := judges{read(t, "docs/gitops/argocd/health.lua"), fluxOf(t, kind)}
		for name, wanted := range it.states {
			object, _ := states[name].(map[string]any)
			if object["kind"] != kind {
				t.Fatalf("%s: %s is a %v", it.snapshot, name, object["kind"])
			}
			if found := judges.of(t, object); found != wanted {
				t.Errorf("%s %s: %v, and should be %v", kind, name, found, wanted)
			}
		}
	}
}

func TestWhatTheOperatorHasNotSeenYetIsNeverGreenAndNeverRed(t *testing.T) {
	for kind, it := range kinds {
		judges := judges{read(t, "docs/gitops/argocd/health.lua"), fluxOf(t, kind)}
		for name, state := range snapshot(t, it.snapshot) {
			object, _ := state.(map[string]any)
			metadata, _ := object["metadata"].(map[string]any)
			generation, _ := metadata["generation"].(int64)
			metadata["generation"] = generation + 1
			if found := judges.of(t, object); found != onItsWay {
				t.Errorf("%s %s, changed since: %v", kind, name, found)
			}
			// What the definition fills in for a new object.
			object["status"] = map[string]any{"observedGeneration": int64(-1)}
			if found := judges.of(t, object); found != onItsWay {
				t.Errorf("%s, new: %v", kind, found)
			}
		}
	}
}

func TestArgoGetsTheScriptForEveryKind(t *testing.T) {
	component := parse(t, "docs/gitops/argocd/kustomization.yaml")[0]
	generators, _ := component["configMapGenerator"].([]any)
	files := fmt.Sprint(generators)
	for kind := range kinds {
		if !strings.Contains(files, "resource.customizations.health.sluice.dev_"+kind+"=health.lua") {
			t.Errorf("kustomization.yaml does not name %s", kind)
		}
	}
}

// As Argo CD runs it: with the libraries base, package and table, and nothing else.
func argoHealth(t *testing.T, script string, object map[string]any) string {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		state.Push(state.NewFunction(library.open))
		state.Push(lua.LString(library.name))
		state.Call(1, 0)
	}
	state.SetGlobal("obj", luaValue(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatalf("health.lua: %v", err)
	}
	health, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		t.Fatalf("health.lua returns %v", state.Get(-1))
	}
	if _, isText := health.RawGetString("message").(lua.LString); !isText {
		t.Errorf("health.lua gives no message")
	}
	return health.RawGetString("status").String()
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(luaValue(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, luaValue(state, item))
		}
		return table
	}
	return lua.LNil
}

type fluxChecks struct{ inProgress, failed, current cel.Program }

// The expressions of docs/gitops/flux/jobs.yaml for a kind.
func fluxOf(t *testing.T, kind string) fluxChecks {
	t.Helper()
	spec, _ := parse(t, "docs/gitops/flux/jobs.yaml")[0]["spec"].(map[string]any)
	checks, _ := spec["healthCheckExprs"].([]any)
	for _, check := range checks {
		check, _ := check.(map[string]any)
		if check["kind"] == kind && check["apiVersion"] == "sluice.dev/v1alpha1" {
			return fluxChecks{program(t, check["inProgress"]), program(t, check["failed"]), program(t, check["current"])}
		}
	}
	t.Fatalf("jobs.yaml has no expressions for %s", kind)
	return fluxChecks{}
}

// In the environment that Flux makes.
func program(t *testing.T, expression any) cel.Program {
	t.Helper()
	environment, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders(),
	)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := expression.(string)
	parsed, issues := environment.Parse(text)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", text, issues.Err())
	}
	program, err := environment.Program(parsed)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return program
}

// In the order that Flux keeps: the generation, then inProgress, failed, current, and else it is in progress.
func (checks *fluxChecks) health(t *testing.T, object map[string]any) string {
	t.Helper()
	observed, found, _ := unstructured.NestedInt64(object, "status", "observedGeneration")
	generation, _, _ := unstructured.NestedInt64(object, "metadata", "generation")
	if found && observed != generation {
		return "InProgress"
	}
	for _, check := range []struct {
		program cel.Program
		name    string
	}{{checks.inProgress, "InProgress"}, {checks.failed, "Failed"}, {checks.current, "Current"}} {
		answer, _, err := check.program.Eval(object)
		if err != nil {
			t.Fatalf("%s: %v", check.name, err)
		}
		if answer.Value() == true {
			return check.name
		}
	}
	return "InProgress"
}

func kstatus(t *testing.T, object map[string]any) string {
	t.Helper()
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	return result.Status.String()
}

// The states in a snapshot, by their names.
func snapshot(t *testing.T, path string) map[string]any {
	t.Helper()
	// The snapshot begins with a header of its own.
	parts := strings.SplitN(read(t, path), "\n---\n", 2)
	states := map[string]any{}
	if err := json.Unmarshal([]byte(parts[len(parts)-1]), &states); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return states
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The documents of a YAML file that are objects.
func parse(t *testing.T, path string) []map[string]any {
	t.Helper()
	var objects []map[string]any
	for _, document := range documents(t, path) {
		if object, isObject := document.(map[string]any); isObject && len(object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}

func documents(t *testing.T, path string) []any {
	t.Helper()
	var documents []any
	for _, text := range bytes.Split([]byte("\n"+read(t, path)), []byte("\n---\n")) {
		text, err := yaml.YAMLToJSON(text)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var document any
		if err := json.Unmarshal(text, &document); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		documents = append(documents, document)
	}
	return documents
}
