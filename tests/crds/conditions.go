package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	celplugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// A request, and whether the webhooks' conditions let it reach the operator.
type admissionRequest struct {
	name      string
	operation admission.Operation
	resource  string
	sub       string
	object    runtime.Object
	old       runtime.Object
	asked     bool
	groups    []string
}

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "agents", Labels: map[string]string{"app": "agent"}, Annotations: map[string]string{"superserve.ai/sandbox-id": "a", "superserve.ai/seal": "s"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "image"}}},
	}
	if change != nil {
		change(p)
	}
	return p
}

func podRequests() []admissionRequest {
	exec := func(container string) *corev1.PodExecOptions {
		return &corev1.PodExecOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodExecOptions"}, Container: container, Command: []string{"sh"}}
	}
	bare := pod(func(p *corev1.Pod) { p.Annotations = nil })
	return []admissionRequest{
		{"a spec of what is no sandbox", admission.Update, "pods", "", pod(func(p *corev1.Pod) { p.Annotations = nil; p.Spec.Containers[0].Image = "other" }), bare, false, nil},
		{"the marks of a sandbox, added", admission.Update, "pods", "", pod(nil), bare, true, nil},
		{"a label", admission.Update, "pods", "", pod(func(p *corev1.Pod) { p.Labels["app"] = "other" }), pod(nil), false, nil},
		{"a finalizer", admission.Update, "pods", "", pod(func(p *corev1.Pod) { p.Finalizers = []string{"example.com/f"} }), pod(nil), false, nil},
		{"an update without annotations", admission.Update, "pods", "", bare, bare, false, nil},
		{"an image", admission.Update, "pods", "", pod(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "other" }), pod(nil), true, nil},
		{"the sandbox id", admission.Update, "pods", "", pod(func(p *corev1.Pod) { p.Annotations["superserve.ai/sandbox-id"] = "b" }), pod(nil), true, nil},
		{"the seal, removed", admission.Update, "pods", "", pod(func(p *corev1.Pod) { delete(p.Annotations, "superserve.ai/seal") }), pod(nil), true, nil},
		{"all annotations, removed", admission.Update, "pods", "", bare, pod(nil), true, nil},
		{"stand-ins, added", admission.Update, "pods", "", pod(func(p *corev1.Pod) { p.Annotations["superserve.ai/stand-ins"] = "[]" }), pod(nil), true, nil},
		{"another annotation", admission.Update, "pods", "", pod(func(p *corev1.Pod) { p.Annotations["other"] = "b" }), pod(nil), false, nil},
		{"a debug container", admission.Update, "pods", "ephemeralcontainers", pod(func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "image"}}}
		}), pod(nil), true, nil},
		{"a command in the sandbox", admission.Connect, "pods", "exec", exec("agent"), nil, false, nil},
		{"a command in no container in particular", admission.Connect, "pods", "exec", exec(""), nil, false, nil},
		{"a command in the sidecar", admission.Connect, "pods", "exec", exec("superserve-sidecar"), nil, true, nil},
		{"attaching to the sidecar", admission.Connect, "pods", "attach", &corev1.PodAttachOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodAttachOptions"}, Container: "superserve-sidecar"}, nil, true, nil},
	}
}

func tokenRequests() []admissionRequest {
	token := func(audiences ...string) *authentication.TokenRequest {
		return &authentication.TokenRequest{TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"}, Spec: authentication.TokenRequestSpec{Audiences: audiences}}
	}
	return []admissionRequest{
		{"a token for nobody in particular", admission.Create, "serviceaccounts", "token", token(), nil, false, nil},
		{"a token for somebody else", admission.Create, "serviceaccounts", "token", token("vault"), nil, false, nil},
		{"a token for a sidecar", admission.Create, "serviceaccounts", "token", token("superserve.ai"), nil, true, []string{"system:authenticated"}},
		{"a token for a sidecar among others", admission.Create, "serviceaccounts", "token", token("vault", "superserve.ai"), nil, true, nil},
		{"a kubelet's token for a sidecar", admission.Create, "serviceaccounts", "token", token("superserve.ai"), nil, false, []string{"system:nodes", "system:authenticated"}},
	}
}

// Compiles the matchConditions of the webhooks in a file and asks them about each request; returns the failures.
func checkConditions(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	failures := []string{}
	conditions := 0
	for _, document := range strings.Split(string(text), "\n---\n") {
		if !strings.Contains(document, "kind: ValidatingWebhookConfiguration") {
			continue
		}
		var configuration admissionregistration.ValidatingWebhookConfiguration
		if err := yaml.UnmarshalStrict([]byte(document), &configuration); err != nil {
			return append(failures, err.Error())
		}
		for _, webhook := range configuration.Webhooks {
			if len(webhook.MatchConditions) == 0 {
				continue
			}
			conditions += len(webhook.MatchConditions)
			accessors := []celplugin.ExpressionAccessor{}
			for i := range webhook.MatchConditions {
				condition := matchconditions.MatchCondition(webhook.MatchConditions[i])
				accessors = append(accessors, &condition)
			}
			compiled := celplugin.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())).
				CompileCondition(accessors, celplugin.OptionalVariableDeclarations{HasParams: false, HasAuthorizer: true}, environment.NewExpressions)
			for _, err := range compiled.CompilationErrors() {
				failures = append(failures, fmt.Sprintf("%s: %v", webhook.Name, err))
			}
			if len(compiled.CompilationErrors()) > 0 {
				continue
			}
			matcher := matchconditions.NewMatcher(compiled, webhook.FailurePolicy, "webhook", "validating", webhook.Name)
			requests, known := map[string][]admissionRequest{"guard.pods.superserve.ai": podRequests(), "validate.tokens.superserve.ai": tokenRequests()}[webhook.Name]
			if !known {
				failures = append(failures, webhook.Name+" has matchConditions and no requests here that try them")
			}
			for _, request := range requests {
				kind := request.object.GetObjectKind().GroupVersionKind()
				attributes := admission.NewAttributesRecord(request.object, request.old, kind, "agents", "agent",
					schema.GroupVersionResource{Version: "v1", Resource: request.resource}, request.sub, request.operation, nil, false, &user.DefaultInfo{Name: "somebody", Groups: request.groups})
				versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind, VersionedObject: request.object, VersionedOldObject: request.old}
				if request.old == nil {
					versioned.VersionedOldObject = nil
				}
				result := matcher.Match(context.TODO(), versioned, nil, nil)
				if result.Error != nil || result.Matches != request.asked {
					failures = append(failures, fmt.Sprintf("%s, %s: asked %v, wanted %v, %v", webhook.Name, request.name, result.Matches, request.asked, result.Error))
				}
			}
		}
	}
	if conditions == 0 {
		failures = append(failures, "there are no matchConditions in "+file)
	}
	return failures
}
