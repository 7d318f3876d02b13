import { assert, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as OpenApi from "effect/http-api/OpenApi"
import { ControlApi } from "../../../src/control/api/ControlApi.ts"
import { test } from "../server/serving.ts"

interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly parameters?: ReadonlyArray<{ readonly name: string; readonly in: string; readonly required: boolean }>
  readonly requestBody?: { readonly required?: boolean; readonly content: Readonly<Record<string, unknown>> }
  readonly responses: Readonly<Record<string, unknown>>
  readonly security: ReadonlyArray<Readonly<Record<string, unknown>>>
}

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, unknown>>
  readonly required?: ReadonlyArray<string>
}

const document = JSON.parse(JSON.stringify(OpenApi.fromApi(ControlApi))) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, ObjectSchema>> }
}

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const)
)

describe("the contract of the API", () => {
  test("is served as an OpenAPI document", ({ send }) =>
    Effect.gen(function* () {
      const { json } = yield* send("/v1/openapi.json")
      assert.deepStrictEqual(json, document)
    }))

  // Clients depend on it: what is added may stay for years, and what is taken away or renamed breaks them.
  it("has these operations, with these parameters and statuses", () => {
    const lines = operations.map(([name, { operationId, parameters = [], requestBody, responses }]) => {
      const given = parameters.map((one) => `${one.in} ${one.name}${one.required ? "" : "?"}`)
      const body = Object.keys(requestBody?.content ?? {})
      return `${name} (${operationId}): ${[...given, ...body].join(", ") || "nothing"} => ${Object.keys(responses).join(" ")}`
    })
    expect(lines.join("\n")).toMatchSnapshot()
  })

  it("has these values", () => {
    const lines = Object.entries(document.components.schemas).flatMap(([name, { properties, required = [] }]) =>
      properties === undefined
        ? []
        : `${name}: ${Object.keys(properties)
            .map((key) => (required.includes(key) ? key : `${key}?`))
            .join(", ")}`
    )
    expect(lines.join("\n")).toMatchSnapshot()
  })

  it("describes every operation in a sentence, and says what it needs", () => {
    for (const [name, { security, summary }] of operations) {
      assert.match(summary ?? "", /^[A-Z].*[^.]$/, name)
      const isOpen = /^GET \/(?:health|ready)$|^(?:GET|POST) \/v1\/login$/.test(name)
      if (name !== "DELETE /v1/login") assert.strictEqual(security.length === 0, isOpen, name)
    }
  })

  it("is version 1", () => {
    for (const path of Object.keys(document.paths)) assert.match(path, /^\/(?:v1\/|health$|ready$)/)
  })
})
