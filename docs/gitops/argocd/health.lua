-- The health of a Connection, a DataCatalogTable or a StreamingJob, for Argo CD. All three speak in the same conditions.

-- What these wait for may be on its way in the very same sync, or needs nothing but time.
local waits = {
  Starting = true,
  Draining = true,
  Unschedulable = true,
  SecretNotFound = true,
}

local function progressing(message)
  return { status = "Progressing", message = message }
end

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return progressing("the operator has not looked at this generation yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is_true(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

local function text(condition)
  return condition.reason .. ": " .. condition.message
end

if is_true("Stalled") then
  return { status = "Degraded", message = text(conditions.Stalled) }
end
if is_true("Reconciling") then
  return progressing(text(conditions.Reconciling))
end

local ready = conditions.Ready
if ready == nil then
  return progressing("the operator has not told yet whether it is ready")
end
if ready.status == "True" then
  local health = ready.reason == "Suspended" and "Suspended" or "Healthy"
  return { status = health, message = text(ready) }
end

-- A table, a connection or a secret that is named and does not exist yet.
local valid = conditions.ConfigValid
local reference = ready.reason == "ReferenceNotFound" or (valid ~= nil and valid.reason == "ReferenceNotFound")
if ready.status == "Unknown" or reference or waits[ready.reason] then
  return progressing(text(ready))
end
return { status = "Degraded", message = text(ready) }
