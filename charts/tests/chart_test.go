package tests

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

type object = map[string]any

// What Helm makes of a set of values. run.sh has compared the file with what Helm makes now.
func rendered(t *testing.T, set string) []object {
	t.Helper()
	return parse(t, "charts/tests/snapshots/"+set+".yaml")
}

func sets(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no sets of values", err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".yaml")
	}
	return files
}

func at(from object, path ...string) object {
	for _, name := range path {
		from, _ = from[name].(object)
	}
	return from
}

func texts(value any) []string {
	list, _ := value.([]any)
	found := make([]string, 0, len(list))
	for _, item := range list {
		text, _ := item.(string)
		found = append(found, text)
	}
	return found
}

// The rules of all roles that the operator is bound to by a name.
func operatorRules(objects []object, kind, namespace string) []object {
	for _, it := range objects {
		name := at(it, "metadata")["name"]
		if it["kind"] == kind && name == "sluice-operator" && (namespace == "" || at(it, "metadata")["namespace"] == namespace) {
			return rulesOf(it)
		}
	}
	return nil
}

func rulesOf(role object) []object {
	var rules []object
	list, _ := role["rules"].([]any)
	for _, rule := range list {
		rule, _ := rule.(object)
		rules = append(rules, rule)
	}
	return rules
}

func TestNoRoleIsAboutSecretsOrAboutEverything(t *testing.T) {
	for _, set := range sets(t) {
		for _, it := range rendered(t, set) {
			for _, rule := range rulesOf(it) {
				words := slices.Concat(texts(rule["apiGroups"]), texts(rule["resources"]), texts(rule["verbs"]))
				for _, word := range []string{"*", "secrets", "escalate", "bind", "impersonate"} {
					if slices.Contains(words, word) {
						t.Errorf("%s: %s %s: %s", set, it["kind"], at(it, "metadata")["name"], word)
					}
				}
			}
		}
	}
}

// The API server lets nobody grant what he does not hold.
func TestTheOperatorHoldsWhatItGrantsToAgents(t *testing.T) {
	parts := documents(t, "operator/src/snapshots/sluice_operator__agent__tests__the_agent_is_restricted_and_mounts_every_secret_as_optional.snap")
	objects, _ := parts[len(parts)-1].([]any)
	granted := 0
	for _, it := range objects {
		it, _ := it.(object)
		for _, rule := range rulesOf(it) {
			for _, group := range texts(rule["apiGroups"]) {
				for _, resource := range texts(rule["resources"]) {
					for _, verb := range texts(rule["verbs"]) {
						granted++
						if !holds(operatorRules(rendered(t, "default"), "ClusterRole", ""), group, resource, verb) {
							t.Errorf("in all namespaces: %s %s.%s", verb, resource, group)
						}
						for _, namespace := range []string{"etl", "shop"} {
							if !holds(operatorRules(rendered(t, "everything"), "Role", namespace), group, resource, verb) {
								t.Errorf("in namespace %s: %s %s.%s", namespace, verb, resource, group)
							}
						}
					}
				}
			}
		}
	}
	if granted == 0 {
		t.Error("no role is found in the snapshot")
	}
}

func holds(rules []object, group, resource, verb string) bool {
	return slices.ContainsFunc(rules, func(rule object) bool {
		return slices.Contains(texts(rule["apiGroups"]), group) && slices.Contains(texts(rule["resources"]), resource) &&
			slices.Contains(texts(rule["verbs"]), verb) && rule["resourceNames"] == nil
	})
}

func TestNothingLiesOutsideOfNamespacesWhenThatIsAskedFor(t *testing.T) {
	for _, it := range rendered(t, "no-cluster-scope") {
		namespace, _ := at(it, "metadata")["namespace"].(string)
		if !slices.Contains([]string{"etl", "sluice-system"}, namespace) {
			t.Errorf("%s %s lies in %q", it["kind"], at(it, "metadata")["name"], namespace)
		}
	}
}

func TestPodsAreOfTheRestrictedLevel(t *testing.T) {
	for _, set := range sets(t) {
		for _, it := range rendered(t, set) {
			pod := at(it, "spec")
			if it["kind"] == "Deployment" {
				pod = at(it, "spec", "template", "spec")
			} else if it["kind"] != "Pod" {
				continue
			}
			security := at(pod, "securityContext")
			if security["runAsNonRoot"] != true || at(security, "seccompProfile")["type"] != "RuntimeDefault" {
				t.Errorf("%s: %s: %v", set, it["kind"], security)
			}
			containers, _ := pod["containers"].([]any)
			for _, container := range containers {
				container, _ := container.(object)
				security := at(container, "securityContext")
				dropped := texts(at(security, "capabilities")["drop"])
				if security["allowPrivilegeEscalation"] != false || security["readOnlyRootFilesystem"] != true || !slices.Equal(dropped, []string{"ALL"}) {
					t.Errorf("%s: %s: %v", set, it["kind"], security)
				}
			}
			if volumes, _ := pod["volumes"].([]any); len(volumes) > 0 {
				t.Errorf("%s: %s has volumes", set, it["kind"])
			}
		}
	}
}

func TestThePodMonitorSelectsTheWorkersThatTheOperatorMakes(t *testing.T) {
	worker := parse(t, "operator/src/streaming_job/build/snapshots/sluice_operator__streaming_job__build__tests__the_workers_of_a_continuous_job.snap")
	template := at(worker[len(worker)-1], "spec", "template")
	monitors := 0
	for _, it := range rendered(t, "everything") {
		if it["kind"] != "PodMonitor" {
			continue
		}
		monitors++
		for name, value := range at(it, "spec", "selector", "matchLabels") {
			if at(template, "metadata", "labels")[name] != value {
				t.Errorf("%s=%v is not a label of workers", name, value)
			}
		}
	}
	if monitors != 1 {
		t.Errorf("%d monitors of pods", monitors)
	}
}

type rule struct{ alert, expression, annotations string }

func alerts(t *testing.T, set string) []rule {
	t.Helper()
	var found []rule
	for _, it := range rendered(t, set) {
		if it["kind"] != "PrometheusRule" {
			continue
		}
		groups, _ := at(it, "spec")["groups"].([]any)
		for _, group := range groups {
			group, _ := group.(object)
			rules, _ := group["rules"].([]any)
			for _, it := range rules {
				it, _ := it.(object)
				alert, _ := it["alert"].(string)
				expression, _ := it["expr"].(string)
				annotations, _ := json.Marshal(it["annotations"])
				found = append(found, rule{alert, expression, string(annotations)})
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s: no alerts", set)
	}
	return found
}

func TestEveryAlertHasItsRunbookAndEveryRunbookItsAlert(t *testing.T) {
	var named []string
	for _, set := range []string{"everything", "one-without-lease"} {
		named = nil
		for _, rule := range alerts(t, set) {
			named = append(named, rule.alert)
			if !strings.Contains(rule.annotations, "/"+rule.alert+".md") {
				t.Errorf("%s: %s does not name its runbook: %s", set, rule.alert, rule.annotations)
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(root, "docs/runbooks/Sluice*.md"))
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".md")
	}
	slices.Sort(named)
	if !slices.Equal(files, named) {
		t.Errorf("runbooks: %v\nalerts: %v", files, named)
	}
}

// What Grafana puts in before Prometheus sees an expression.
var grafana = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h")

func TestEveryMetricInAlertsAndDashboardIsDocumented(t *testing.T) {
	expressions := map[string]string{}
	for _, set := range []string{"everything", "one-without-lease"} {
		for _, rule := range alerts(t, set) {
			expressions[set+": "+rule.alert] = rule.expression
		}
	}
	dashboard := struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}{}
	if err := json.Unmarshal([]byte(read(t, "charts/sluice/dashboards/sluice.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expressions["dashboard: "+panel.Title] = grafana.Replace(target.Expr)
		}
	}
	documented := documentedMetrics(t)
	for where, expression := range expressions {
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
			if selector, ok := node.(*parser.VectorSelector); ok && !slices.Contains(documented, base(selector.Name)) {
				t.Errorf("%s: the metric %s is in no table of docs/", where, selector.Name)
			}
			return nil
		})
	}
}

// A histogram is documented by its name, and read by its parts.
func base(name string) string {
	for _, part := range []string{"_bucket", "_count", "_sum"} {
		name = strings.TrimSuffix(name, part)
	}
	return name
}

func documentedMetrics(t *testing.T) []string {
	t.Helper()
	// Prometheus' own.
	found := []string{"up"}
	row := regexp.MustCompile("(?m)^\\| `(sluice_[a-z_]+)` \\|")
	for _, page := range []string{"docs/metrics.md", "docs/operator.md"} {
		for _, match := range row.FindAllStringSubmatch(read(t, page), -1) {
			found = append(found, match[1])
		}
	}
	return found
}

// Values that no schema knows are refused by it. Here is the other direction.
func TestTheSchemaNamesNothingThatTheValuesLack(t *testing.T) {
	var schema object
	if err := json.Unmarshal([]byte(read(t, "charts/sluice/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	same(t, "", schema, parse(t, "charts/sluice/values.yaml")[0])
}

func same(t *testing.T, path string, schema, values object) {
	t.Helper()
	for name, property := range at(schema, "properties") {
		property, _ := property.(object)
		value, there := values[name]
		// Helm's own.
		if !there && name != "global" {
			t.Errorf("values.yaml lacks %s", path+name)
		}
		if inner, isObject := value.(object); isObject && property["properties"] != nil {
			same(t, path+name+".", property, inner)
		}
	}
}
