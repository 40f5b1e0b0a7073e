"""KEDA's external scaler: adds up the demand of all activators and answers KEDA."""
