namespace Superserve.ApiServer.Tests;

/// <summary>The objects that the tests use.</summary>
internal static class Samples
{
    public const string Crd = """
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: gadgets.example.com}
        spec:
          group: example.com
          scope: Namespaced
          names: {kind: Gadget, plural: gadgets, singular: gadget, shortNames: [gd], categories: [toys]}
          versions:
          - name: v1
            served: true
            storage: true
            subresources: {status: {}}
            selectableFields: [{jsonPath: .spec.size}]
            additionalPrinterColumns:
            - {name: Size, type: string, jsonPath: .spec.size}
            - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
            - {name: Count, type: integer, jsonPath: .spec.count, priority: 1}
            - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
            schema:
              openAPIV3Schema:
                type: object
                required: [spec]
                properties:
                  spec:
                    type: object
                    required: [size]
                    properties:
                      size: {type: string, enum: [small, large], description: How big it is.}
                      count: {type: integer, minimum: 1, maximum: 9, default: 2}
                      code: {type: string, pattern: '^[a-z]+$', maxLength: 5}
                      hosts: {type: array, maxItems: 3, items: {type: string}}
                      tags: {type: array, items: {type: string}, x-kubernetes-list-type: set}
                      notes: {type: object, additionalProperties: {type: string}, maxProperties: 2}
                      free: {type: object, x-kubernetes-preserve-unknown-fields: true}
                      port: {x-kubernetes-int-or-string: true}
                      parts:
                        type: array
                        x-kubernetes-list-type: map
                        x-kubernetes-list-map-keys: [name]
                        items:
                          type: object
                          required: [name]
                          properties:
                            name: {type: string}
                            weight: {type: integer}
                            color: {type: string}
                  status:
                    type: object
                    properties:
                      seen: {type: integer}
                      conditions:
                        type: array
                        x-kubernetes-list-type: map
                        x-kubernetes-list-map-keys: [type]
                        items:
                          type: object
                          required: [type, status]
                          properties:
                            type: {type: string}
                            status: {type: string, enum: ["True", "False", Unknown]}
                            reason: {type: string}
                            lastTransitionTime: {type: string, format: date-time}
        """;

    public static string Gadget(string name = "one", string spec = "{size: small}", string metadata = "") => $$"""
        apiVersion: example.com/v1
        kind: Gadget
        metadata: {name: {{name}}, namespace: default{{metadata}}}
        spec: {{spec}}
        """;

    public static string Pod(string name = "web", string more = "", string metadata = "") => $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{name}}, namespace: default{{metadata}}}
        spec: {containers: [{name: app, image: "nginx:1"}]{{more}}}
        """;
}
