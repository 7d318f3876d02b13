import { assert, describe, it } from "@effect/vitest"
import * as OpenApi from "effect/http-api/OpenApi"
import * as ApiDocument from "../../../src/control/api/ApiDocument.ts"
import { ControlApi } from "../../../src/control/api/ControlApi.ts"

const document = OpenApi.fromApi(ControlApi)

const parameters = Object.values(document.paths).flatMap((operations) =>
  Object.values(operations).flatMap((operation) => ("parameters" in operation ? operation.parameters : []))
)

/** All objects within a value. */
const objects = (value: unknown): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  if (typeof value !== "object" || value === null) return []
  return [value as Readonly<Record<string, unknown>>, ...Object.values(value).flatMap(objects)]
}

describe("the OpenAPI document", () => {
  it("says what each parameter means, and names none that is not there", () => {
    const names = new Set(parameters.map(({ name }) => name))
    assert.sameMembers(Object.keys(ApiDocument.parameters), [...names])
    for (const { description, name } of parameters) assert.isString(description, name)
  })

  it("has numbers and choices of yes and no in URLs as such", () => {
    const types = new Map(parameters.map(({ name, schema }) => [name, schema]))
    assert.deepInclude(types.get("offset"), { type: "integer", minimum: 0 })
    assert.deepInclude(types.get("limit"), { type: "integer", minimum: 1, maximum: 1_000 })
    assert.deepInclude(types.get("file"), { type: "integer" })
    assert.deepInclude(types.get("data"), { type: "boolean" })
    assert.deepInclude(types.get("isPaused"), { type: "boolean" })
  })

  it("says what members mean, and names none that is not there", () => {
    const schemas = document.components.schemas as Readonly<Record<string, { properties?: Record<string, unknown> }>>
    for (const [name, words] of Object.entries(ApiDocument.members)) {
      const { properties = {} } = schemas[name] ?? {}
      for (const [member, description] of Object.entries(words)) {
        assert.deepInclude(properties[member], { description }, `${name}.${member}`)
      }
    }
  })

  it("closes no object, because a later version may add members", () => {
    assert.isFalse(objects(document).some(({ additionalProperties }) => additionalProperties === false))
  })
})
