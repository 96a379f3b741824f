// Stripe's package: a list of two pages, and a form.
import Stripe from 'stripe'

const stripe = new Stripe(process.env.STRIPE_SECRET_KEY)
for await (const customer of stripe.customers.list({ limit: 1 })) console.log(customer.email)
const customer = await stripe.customers.create({ email: 'new@example.com' }, { idempotencyKey: 'once' })
console.log(customer.id, customer.email)
