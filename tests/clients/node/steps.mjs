// A script is a list of steps. Each prints one line of JSON with what it saw; the test judges it.

export async function step(name, attempt) {
  let saw;
  try {
    saw = await attempt();
  } catch (error) {
    saw = { failed: error.constructor.name, message: String(error.message).slice(0, 500) };
  }
  console.log(JSON.stringify({ step: name, saw: saw ?? null }));
}

// Runs what must fail, and tells what it failed with.
export async function failure(attempt, ...fields) {
  try {
    await attempt();
  } catch (error) {
    const told = Object.fromEntries(fields.map((field) => [field, error[field] ?? null]));
    return { class: error.constructor.name, ...told };
  }
  return { class: null };
}
