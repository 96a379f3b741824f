// Checks the CRDs as the API server would: structural schemas, the cost of their CEL rules, and the verdict and message on
// each manifest of tests/manifests; and which requests the webhooks' matchConditions let through. It is the API server's own code, without a server.
//
// usage: crds CRD_DIRECTORY MANIFEST_DIRECTORY RENDERED_CHART
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

type resource struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
	rules      *schemacel.Validator
}

func main() {
	failures := 0
	fail := func(format string, arguments ...any) {
		failures++
		fmt.Printf("FAILED "+format+"\n", arguments...)
	}

	resources := map[string]resource{}
	files, _ := filepath.Glob(filepath.Join(os.Args[1], "*.yaml"))
	for _, file := range files {
		kind, loaded, err := load(file)
		if err != nil {
			fail("%s: %v", filepath.Base(file), err)
			continue
		}
		resources[kind] = loaded
		fmt.Printf("ok     %s\n", filepath.Base(file))
	}

	for _, verdict := range []string{"accepted", "refused"} {
		manifests, _ := filepath.Glob(filepath.Join(os.Args[2], verdict, "*.yaml"))
		for _, file := range manifests {
			name := verdict + "/" + filepath.Base(file)
			text, err := os.ReadFile(file)
			if err != nil {
				fail("%s: %v", name, err)
				continue
			}
			wanted := expected(string(text))
			if wanted == "by the webhook" {
				continue
			}
			messages, err := check(resources, text)
			switch {
			case err != nil:
				fail("%s: %v", name, err)
			case verdict == "accepted" && messages != "":
				fail("%s was refused: %s", name, messages)
			case verdict == "refused" && messages == "":
				fail("%s was accepted", name)
			case verdict == "refused" && !strings.Contains(messages, wanted):
				fail("%s\n  wanted: %s\n  got:    %s", name, wanted, messages)
			default:
				fmt.Printf("ok     %s\n", name)
			}
		}
	}

	for _, failure := range checkConditions(os.Args[3]) {
		fail("%s", failure)
	}
	if failures > 0 {
		fmt.Printf("%d failed\n", failures)
		os.Exit(1)
	}
}

func load(file string) (string, resource, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", resource{}, err
	}
	var external v1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &external); err != nil {
		return "", resource{}, err
	}
	v1.SetDefaults_CustomResourceDefinition(&external)
	v1.SetDefaults_CustomResourceDefinitionSpec(&external.Spec)
	var internal apiextensions.CustomResourceDefinition
	if err := v1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, &internal, nil); err != nil {
		return "", resource{}, err
	}
	internal.Status.StoredVersions = []string{external.Spec.Versions[0].Name}
	if errs := crdvalidation.ValidateCustomResourceDefinition(context.TODO(), &internal); len(errs) > 0 {
		return "", resource{}, errs.ToAggregate()
	}
	var props apiextensions.JSONSchemaProps
	if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(external.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil); err != nil {
		return "", resource{}, err
	}
	structural, err := schema.NewStructural(&props)
	if err != nil {
		return "", resource{}, err
	}
	validator, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		return "", resource{}, err
	}
	return external.Spec.Names.Kind, resource{structural, validator, schemacel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
}

func check(resources map[string]resource, text []byte) (string, error) {
	object := map[string]any{}
	if err := yaml.Unmarshal(text, &object); err != nil {
		return "", err
	}
	kind, _ := object["kind"].(string)
	known, ok := resources[kind]
	if !ok {
		return "", fmt.Errorf("no CRD of kind %q", kind)
	}
	errs := field.ErrorList{}
	for _, path := range pruning.PruneWithOptions(object, known.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, field.Invalid(field.NewPath(path), nil, "unknown field"))
	}
	errs = append(errs, validation.ValidateCustomResource(nil, object, known.validator)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, known.structural, object)...)
	if len(errs) == 0 {
		found, _ := known.rules.Validate(context.TODO(), nil, known.structural, object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, found...)
	}
	if len(errs) == 0 {
		return "", nil
	}
	return errs.ToAggregate().Error(), nil
}

// The message that a manifest is refused with stands in its first line: "# refused: the message".
func expected(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "# refused:"))
}
